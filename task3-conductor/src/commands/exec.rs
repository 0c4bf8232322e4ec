//! `conductor exec NAME [-- COMMAND]`: run a command in a running container.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nsutil::error::OrCannot;
use nsutil::terminal;

use super::args::ProcessArgs;
use crate::container::cgroup;
use crate::container::create::Output;
use crate::container::join;
use crate::container::plan::{Process, Stdio};
use crate::container::relay::ReplacedStdio;
use crate::container::terminal::{AttachedStreams, ForwardedSignals, ProcessRole, attach_until_exit};
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Run a command, by default /bin/bash, in a running container
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor exec eg
  conductor exec eg -- ps aux
  conductor exec -e LANG=C -w /srv -u nobody eg -- date
  conductor exec -d eg -- sh -c 'sleep 60; echo late > /late'")]
pub struct Exec {
    /// Container in which to run it
    pub name: ContainerName,
    /// Return when the command has started; its output is discarded
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Where the output of a detached command goes: the container's log is only for its first process.
const NOWHERE: &str = "/dev/null";

impl Exec {
    /// Runs the command and, unless detached, waits until it exits; prints what it does first, unless `quiet`.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be started in it.
    pub fn run(self, store: &Store, quiet: bool) -> Result<ExitCode, Failure> {
        let stdio = self.process.stdio(self.detach)?;
        let options = self.process.options(stdio)?;
        let (record, init) = store.running_container(&self.name, "enter")?;
        let cgroup = cgroup::of(&store.tag(&self.name))?;
        cgroup::refuse_frozen(&cgroup, &self.name)?;
        let process = Process::joining(&record, options);
        if !quiet {
            say(&format!("Executing {} in {} container!\n", process.command.join(" "), self.name))?;
        }
        if self.detach {
            let nowhere = File::options().write(true).open(NOWHERE).or_cannot("open", NOWHERE)?;
            join::start(&init, &cgroup, &process, Output::Detached(nowhere.as_fd()))?.child.release();
            return Ok(ExitCode::SUCCESS);
        }
        let (replaced, relays) = if stdio == Stdio::Inherit { ReplacedStdio::of_caller()? } else { Default::default() };
        let output = match stdio {
            Stdio::Inherit => Output::Inherit(&replaced),
            Stdio::Terminal => Output::Terminal(terminal::size(io::stdin().as_fd()).ok()),
        };
        let signals = ForwardedSignals::hold()?;
        let joined = join::start(&init, &cgroup, &process, output)?;
        let exit = attach_until_exit(
            joined.child,
            AttachedStreams { terminal: joined.terminal, replaced, relays },
            signals,
            ProcessRole::Other,
        )?;
        Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX)))
    }
}
