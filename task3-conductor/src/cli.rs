//! The command line: what can be asked of conductor.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use nsutil::error::Result;

use crate::commands;
use crate::container::reexec;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// First line of stdout, which scripts count on (`tail -n +3`).
const BANNER: &str = "CS695 Conductor that manages containers";

/// Where help shows the options that every command has.
const EVERY: &str = "Options of every command";

/// A container manager without a daemon
#[derive(Parser)]
#[command(name = "conductor", version, about = BANNER, propagate_version = true)]
pub struct Conductor {
    /// Where images, containers and the cache live
    #[arg(long, global = true, help_heading = EVERY, env = "CONDUCTOR_ROOT", default_value = "/var/lib/conductor", value_name = "DIR")]
    root: PathBuf,
    /// Tell each step on stderr as it happens: the call, why, and the shell command that does the same
    #[arg(long, global = true, help_heading = EVERY)]
    explain: bool,
    /// Leave out the banner, what exec says first, and of lists all but the names
    #[arg(short, long, global = true, help_heading = EVERY, overrides_with = "quiet")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// What conductor can do, in the words of its list; each command's own help says more. Only the one that was typed is built
/// in full (`defer`), as all together take longer than most of them run.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Give a running container a network, or more of it
    #[command(name = "addnetwork")]
    AddNetwork(commands::addnetwork::AddNetwork),
    /// Attack the host from inside a container, and see what stops it
    Attack(commands::attack::Attack),
    /// Make an image: a Debian system, or what a Conductorfile says
    Build(commands::build::Build),
    /// Write a container as a bundle for runc and others
    Bundle(commands::bundle::Bundle),
    /// Make an image of a container as it is now
    Commit(commands::commit::Commit),
    /// Print a script that completes commands in your shell
    Completions(commands::completions::Completions),
    /// Copy files out of a container or into one
    Cp(commands::cp::Cp),
    /// Run a command in a running container
    Exec(commands::exec::Exec),
    /// List images
    Images(commands::images::Images),
    /// Show all that is known about a container
    Inspect(commands::inspect::Inspect),
    /// Show host and container side by side, and what they share
    Isolation(commands::isolation::Isolation),
    /// Send a signal to the first process of containers
    Kill(commands::kill::Kill),
    /// Read an image that another tool wrote
    Load(commands::load::Load),
    /// Show what a detached container has printed
    Logs(commands::logs::Logs),
    /// Print the manual page of conductor, or of one of its commands
    Manual(commands::manual::Manual),
    /// Compare networks with what was asked for, or make them so again
    #[command(subcommand)]
    Network(commands::network::Network),
    /// Let all processes of containers stand still
    Pause(commands::pause::Pause),
    /// Let two containers talk to each other
    Peer(commands::peer::Peer),
    /// List containers
    Ps(commands::ps::Ps),
    /// Fetch an image from a registry
    Pull(commands::pull::Pull),
    /// Remove containers that have ended
    #[command(visible_alias = "remove")]
    Rm(commands::rm::Rm),
    /// Remove what makes builds fast and is in no use
    Rmcache(commands::rmcache::Rmcache),
    /// Remove images
    Rmi(commands::rmi::Rmi),
    /// Start a container and run a command in it
    Run(commands::run::Run),
    /// Write an image for other tools
    Save(commands::save::Save),
    /// Show what containers use, once a second
    Stats(commands::stats::Stats),
    /// End containers and remove everything they held
    Stop(commands::stop::Stop),
    /// Let the processes of paused containers go on
    Unpause(commands::pause::Unpause),
    /// Wait until containers have ended, and print their exit codes
    Wait(commands::wait::Wait),
}

impl Command {
    /// Whether what it prints is for another program to read, all of it.
    fn prints_data(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Inspect(_) | Self::Manual(_) => true,
            Self::Attack(attack) => attack.format == commands::Format::Json,
            Self::Images(images) => images.format == commands::Format::Json,
            Self::Ps(ps) => ps.format == commands::Format::Json,
            Self::Stats(stats) => stats.format == commands::Format::Json,
            _ => false,
        }
    }

    /// The container of a command line that may go on with `--` and a command to run in it.
    fn container(&self) -> Option<&ContainerName> {
        match self {
            Self::Exec(exec) => Some(&exec.name),
            Self::Run(run) => Some(&run.name),
            _ => None,
        }
    }

    /// Whether a process of this program will stand in a container.
    fn enters_container(&self) -> bool {
        matches!(self, Self::Attack(_) | Self::Build(_) | Self::Exec(_) | Self::Run(_))
    }
}

impl Conductor {
    /// Understands the command line.
    ///
    /// # Errors
    /// clap's; also for `run IMAGE -- COMMAND`, where the name is missing and the first word of the command would be taken for it.
    pub fn of_command_line() -> Result<Self, clap::Error> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let all = Self::try_parse_from(&words)?;
        let mut sides = words.splitn(2, |word| word == "--");
        if let (Some(name), Some(before), Some([first, ..])) = (all.command.container(), sides.next(), sides.next()) {
            if first == name.as_str() {
                Self::try_parse_from(before)?;
            }
        }
        Ok(all)
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// The command's own.
    pub fn run(self) -> Result<ExitCode, Failure> {
        if self.explain {
            nsutil::step::tell(anstream::stderr());
        }
        // The caller's is about files of the caller's own. What is made here has the mode that it is made with.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        nsutil::process::keep_exit_statuses()?;
        if self.command.enters_container() && nix::unistd::geteuid().is_root() {
            reexec::out_of_reach()?;
        }
        if !self.quiet && !self.command.prints_data() {
            say(&format!("{BANNER}\n"))?;
        }
        self.command.run(&|| open_store(&self.root), self.quiet)
    }
}

impl Command {
    /// Does what was asked; what is kept in a store opens it.
    fn run(self, store: &dyn Fn() -> Result<Store>, quiet: bool) -> Result<ExitCode, Failure> {
        let code = match self {
            Self::Completions(completions) => completions.run(Conductor::command())?,
            Self::Manual(manual) => manual.run(Conductor::command())?,
            Self::AddNetwork(add) => add.run(&store()?)?,
            Self::Attack(attack) => attack.run(&store()?)?,
            Self::Build(build) => build.run(&store()?)?,
            Self::Bundle(bundle) => bundle.run(&store()?)?,
            Self::Commit(commit) => commit.run(&store()?)?,
            Self::Cp(cp) => cp.run(&store()?)?,
            Self::Exec(exec) => exec.run(&store()?, quiet)?,
            Self::Images(images) => images.run(&store()?, quiet)?,
            Self::Inspect(inspect) => inspect.run(&store()?)?,
            Self::Isolation(isolation) => isolation.run(&store()?)?,
            Self::Kill(kill) => kill.run(&store()?)?,
            Self::Load(load) => load.run(&store()?)?,
            Self::Logs(logs) => logs.run(&store()?)?,
            Self::Network(network) => network.run(&store()?)?,
            Self::Pause(pause) => pause.run(&store()?)?,
            Self::Peer(peer) => peer.run(&store()?)?,
            Self::Ps(ps) => ps.run(&store()?, quiet)?,
            Self::Pull(pull) => pull.run(&store()?)?,
            Self::Rm(rm) => rm.run(&store()?)?,
            Self::Rmcache(rmcache) => rmcache.run(&store()?)?,
            Self::Rmi(rmi) => rmi.run(&store()?)?,
            Self::Run(run) => run.run(&store()?)?,
            Self::Save(save) => save.run(&store()?)?,
            Self::Stats(stats) => stats.run(&store()?)?,
            Self::Stop(stop) => stop.run(&store()?)?,
            Self::Unpause(unpause) => unpause.run(&store()?)?,
            Self::Wait(wait) => wait.run(&store()?)?,
        };
        Ok(code)
    }
}

/// What has to be done before anything enters a container, done before the command line is understood: that costs more
/// than a start of the program, and would be done twice. By one word alone it may be done in vain, which does no harm; if
/// it is not done, or fails, [`Conductor::run`] does it, and tells.
pub fn start_anew_early() {
    let has = |wanted: &[&str]| std::env::args_os().skip(1).any(|word| wanted.iter().any(|name| word == *name));
    if has(&["attack", "build", "exec", "run"]) && !has(&["--explain"]) && nix::unistd::geteuid().is_root() {
        let _ = reexec::out_of_reach();
    }
}

fn open_store(root: &Path) -> Result<Store> {
    if !nix::unistd::geteuid().is_root() {
        return Err(nsutil::Error::new("manage", "containers", "this takes root").hint("run it with sudo"));
    }
    Store::open(root)
}
