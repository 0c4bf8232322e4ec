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
use crate::output::sequence::Recording;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// First line of stdout, which scripts count on (`tail -n +3`).
const BANNER: &str = "CS695 Conductor that manages containers";

/// Heading under which help lists the global options.
const GLOBAL_OPTIONS: &str = "Global options";

/// A container manager without a daemon
#[derive(Parser)]
#[command(name = "conductor", version, about = BANNER, propagate_version = true)]
pub struct Conductor {
    /// Directory of images, containers and the cache
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, env = "CONDUCTOR_ROOT", default_value = "/var/lib/conductor", value_name = "DIR")]
    root: PathBuf,
    /// Print each step to stderr: the system call, its purpose, and the equivalent shell command; or draw all steps to a file
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, num_args = 0..=1, require_equals = true, value_name = "FILE.svg")]
    #[allow(clippy::option_option, reason = "clap's way to say: not there, there without a value, there with one")]
    explain: Option<Option<PathBuf>>,
    /// Print no banner and no headings; lists show names only
    #[arg(short, long, global = true, help_heading = GLOBAL_OPTIONS, overrides_with = "quiet")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// The commands, as help lists them; each command's own help says more. clap builds only the command that was typed in
/// full (`defer`): building all takes longer than most commands run.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Connect a running container to the host's network
    #[command(name = "addnetwork")]
    AddNetwork(commands::addnetwork::AddNetwork),
    /// Try to break out of a container, and show what stops each attempt
    Attack(commands::attack::Attack),
    /// Build an image: a Debian system, or from a Conductorfile
    Build(commands::build::Build),
    /// Write a container as a bundle for runc and other runtimes
    Bundle(commands::bundle::Bundle),
    /// Create an image from the current files of a container
    Commit(commands::commit::Commit),
    /// Print a shell completion script
    Completions(commands::completions::Completions),
    /// Copy files between a container and the host
    Cp(commands::cp::Cp),
    /// Run a command in a running container
    Exec(commands::exec::Exec),
    /// Show the layers of an image
    History(commands::history::History),
    /// List images
    Images(commands::images::Images),
    /// Show the details of a container as JSON
    Inspect(commands::inspect::Inspect),
    /// Compare the isolation of a container with the host
    Isolation(commands::isolation::Isolation),
    /// Send a signal to the first process of containers
    Kill(commands::kill::Kill),
    /// Load an image that another tool wrote
    Load(commands::load::Load),
    /// Show the output of a detached container
    Logs(commands::logs::Logs),
    /// Print the manual page of conductor, or of one of its commands
    Manual(commands::manual::Manual),
    /// Check the networks of containers, draw or restore them
    #[command(subcommand)]
    Network(commands::network::Network),
    /// Suspend all processes of containers
    Pause(commands::pause::Pause),
    /// Let two containers reach each other
    Peer(commands::peer::Peer),
    /// List containers
    Ps(commands::ps::Ps),
    /// Fetch an image from a registry
    Pull(commands::pull::Pull),
    /// Remove containers that have exited
    #[command(visible_alias = "remove")]
    Rm(commands::rm::Rm),
    /// Remove cached layers and packages that no image or container uses
    Rmcache(commands::rmcache::Rmcache),
    /// Remove images
    Rmi(commands::rmi::Rmi),
    /// Create a container and run a command in it
    Run(commands::run::Run),
    /// Write an image for other tools
    Save(commands::save::Save),
    /// Show the resource usage of containers, once a second
    Stats(commands::stats::Stats),
    /// Stop containers and remove them
    Stop(commands::stop::Stop),
    /// Resume the processes of paused containers
    Unpause(commands::pause::Unpause),
    /// Wait until containers exit, and print their exit codes
    Wait(commands::wait::Wait),
}

impl Command {
    /// Whether its output is data for other programs, so that no banner may precede it.
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

    /// The container of a command that takes `-- COMMAND`.
    fn container(&self) -> Option<&ContainerName> {
        match self {
            Self::Exec(exec) => Some(&exec.name),
            Self::Run(run) => Some(&run.name),
            _ => None,
        }
    }

    /// Whether this command runs a process of conductor inside a container.
    fn enters_container(&self) -> bool {
        matches!(self, Self::Attack(_) | Self::Build(_) | Self::Exec(_) | Self::Run(_))
    }
}

impl Conductor {
    /// Parses the command line.
    ///
    /// # Errors
    /// clap's errors; also for `run IMAGE -- COMMAND`, where the name is missing and the command's first word would be
    /// taken for it.
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

    /// Runs the command.
    ///
    /// # Errors
    /// The command's own.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match &self.explain {
            None => (),
            Some(None) => nsutil::step::print_to(anstream::stderr()),
            Some(Some(file)) => {
                let drawing = Recording::begin(file)?;
                let outcome = self.go();
                let drawn = drawing.finish();
                return match outcome {
                    Ok(code) => drawn.map(|()| code).map_err(Failure::from),
                    Err(failure) => Err(failure.and(drawn)),
                };
            }
        }
        self.go()
    }

    fn go(self) -> Result<ExitCode, Failure> {
        // The caller's umask applies to the caller's own files. Files made here get exactly the mode given.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        nsutil::process::reset_sigchld()?;
        if self.command.enters_container() && nix::unistd::geteuid().is_root() {
            reexec::reexec_sealed_copy()?;
        }
        if !self.quiet && !self.command.prints_data() {
            say(&format!("{BANNER}\n"))?;
        }
        self.command.run(&|| open_store(&self.root), self.quiet)
    }
}

impl Command {
    /// Runs the command; `store` opens the store for the commands that need it.
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
            Self::History(history) => history.run(&store()?, quiet)?,
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

/// Re-executes the sealed copy before the command line is parsed: parsing costs more than starting the program, and
/// would be done twice. The check by word may re-execute needlessly, which is harmless. If it does not re-execute, or
/// fails, [`Conductor::run`] does, and reports the error.
pub fn reexec_early() {
    let has = |wanted: &[&str]| std::env::args_os().skip(1).any(|word| wanted.iter().any(|name| word == *name));
    let explains = || std::env::args_os().any(|word| word.as_encoded_bytes().starts_with(b"--explain"));
    if has(&["attack", "build", "exec", "run"]) && !explains() && nix::unistd::geteuid().is_root() {
        let _ = reexec::reexec_sealed_copy();
    }
}

fn open_store(root: &Path) -> Result<Store> {
    if !nix::unistd::geteuid().is_root() {
        return Err(nsutil::Error::new("manage", "containers", "this requires root").hint("run it with sudo"));
    }
    Store::open(root)
}
