//! The command line: what can be asked of conductor.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use nsutil::error::{OrCannot, Result};

use crate::commands;
use crate::failure::Failure;
use crate::runtime::own_binary;
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
    /// Leave out the banner
    #[arg(short, long, global = true, help_heading = EVERY)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(name = "addnetwork")]
    AddNetwork(commands::addnetwork::AddNetwork),
    Attack(commands::attack::Attack),
    Build(commands::build::Build),
    Commit(commands::commit::Commit),
    Completions(commands::completions::Completions),
    Cp(commands::cp::Cp),
    Exec(commands::exec::Exec),
    Images(commands::images::Images),
    Inspect(commands::inspect::Inspect),
    Isolation(commands::isolation::Isolation),
    Kill(commands::kill::Kill),
    Logs(commands::logs::Logs),
    #[command(subcommand)]
    Network(commands::network::Network),
    Peer(commands::peer::Peer),
    Ps(commands::ps::Ps),
    Rm(commands::rm::Rm),
    Rmcache(commands::rmcache::Rmcache),
    Rmi(commands::rmi::Rmi),
    Run(commands::run::Run),
    Stats(commands::stats::Stats),
    Stop(commands::stop::Stop),
    Wait(commands::wait::Wait),
}

impl Command {
    /// Whether what it prints is for another program to read, all of it.
    fn prints_data(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Inspect(_) => true,
            Self::Attack(attack) => attack.format == commands::Format::Json,
            Self::Images(images) => images.quiet || images.format == commands::Format::Json,
            Self::Ps(ps) => ps.quiet || ps.format == commands::Format::Json,
            Self::Stats(stats) => stats.format == commands::Format::Json,
            _ => false,
        }
    }

    /// Whether a process of this program will stand in a container.
    fn enters_container(&self) -> bool {
        matches!(self, Self::Attack(_) | Self::Build(_) | Self::Exec(_) | Self::Run(_))
    }
}

impl Conductor {
    /// Does what was asked.
    ///
    /// # Errors
    /// The command's own.
    pub fn run(self) -> Result<ExitCode, Failure> {
        if self.explain {
            nsutil::step::tell(anstream::stderr());
        }
        // A caller that ignores the end of its children hands that on, and nobody could wait for one then.
        nsutil::sys::default_action(Signal::SIGCHLD).or_cannot("reset", Signal::SIGCHLD)?;
        if self.command.enters_container() && nix::unistd::geteuid().is_root() {
            own_binary::out_of_reach()?;
        }
        if !self.quiet && !self.command.prints_data() {
            say(&format!("{BANNER}\n"))?;
        }
        let store = || {
            require_root()?;
            Store::open(&self.root)
        };
        let code = match self.command {
            Command::Completions(completions) => completions.run()?,
            command => command.run(&store()?)?,
        };
        Ok(code)
    }
}

impl Command {
    /// Does what was asked, with the store.
    fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let code = match self {
            Self::Completions(completions) => completions.run()?,
            Self::AddNetwork(add) => add.run(store)?,
            Self::Attack(attack) => attack.run(store)?,
            Self::Build(build) => build.run(store)?,
            Self::Commit(commit) => commit.run(store)?,
            Self::Cp(cp) => cp.run(store)?,
            Self::Exec(exec) => exec.run(store)?,
            Self::Images(images) => images.run(store)?,
            Self::Inspect(inspect) => inspect.run(store)?,
            Self::Isolation(isolation) => isolation.run(store)?,
            Self::Kill(kill) => kill.run(store)?,
            Self::Logs(logs) => logs.run(store)?,
            Self::Network(network) => network.run(store)?,
            Self::Peer(peer) => peer.run(store)?,
            Self::Ps(ps) => ps.run(store)?,
            Self::Rm(rm) => rm.run(store)?,
            Self::Rmcache(rmcache) => rmcache.run(store)?,
            Self::Rmi(rmi) => rmi.run(store)?,
            Self::Run(run) => run.run(store)?,
            Self::Stats(stats) => stats.run(store)?,
            Self::Stop(stop) => stop.run(store)?,
            Self::Wait(wait) => wait.run(store)?,
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
        let _ = own_binary::out_of_reach();
    }
}

/// Writes to stdout at once.
///
/// # Errors
/// `EPIPE` when nobody reads any more, `ENOSPC` …
pub fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}

fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(nsutil::Error::new("manage", "containers", "this takes root").hint("run it with sudo"))
}
