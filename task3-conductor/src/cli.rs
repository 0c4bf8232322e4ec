//! The command line: what can be asked of conductor.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nsutil::error::{OrCannot, Result};

use crate::commands;
use crate::store::Store;

/// First line of stdout, which scripts count on (`tail -n +3`).
const BANNER: &str = "CS695 Conductor that manages containers";

/// A container manager without a daemon
#[derive(Parser)]
#[command(name = "conductor", version, about = BANNER, propagate_version = true)]
pub struct Conductor {
    /// Where images, containers and the cache live
    #[arg(long, global = true, env = "CONDUCTOR_ROOT", default_value = "/var/lib/conductor", value_name = "DIR")]
    root: PathBuf,
    /// Tell each step on stderr as it happens: the call, why, and the shell command that does the same
    #[arg(long, global = true)]
    explain: bool,
    /// Leave out the banner
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(commands::build::Build),
    Images(commands::images::Images),
    Ps(commands::ps::Ps),
}

impl Conductor {
    /// Does what was asked.
    ///
    /// # Errors
    /// The command's own.
    pub fn run(self) -> Result<ExitCode> {
        if self.explain {
            nsutil::step::tell(anstream::stderr());
        }
        if !self.quiet {
            say(&format!("{BANNER}\n"))?;
        }
        require_root()?;
        let store = Store::open(&self.root)?;
        match self.command {
            Command::Build(build) => build.run(&store),
            Command::Images(images) => images.run(&store),
            Command::Ps(ps) => ps.run(&store),
        }
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
