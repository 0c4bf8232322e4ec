//! `conductor exec NAME [-- COMMAND]`: run a command in a running container.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nsutil::error::OrCannot;
use nsutil::terminal;

use super::options::ProcessOptions;
use crate::cli::say;
use crate::failure::Failure;
use crate::name::ContainerName;
use crate::plan::{Process, Talk};
use crate::runtime::attach::{Role, Signals, Talking, stay};
use crate::runtime::cgroup;
use crate::runtime::exec;
use crate::runtime::host::Voice;
use crate::runtime::relay::Stdio;
use crate::store::Store;

/// Run a command in a running container: the one given, or /bin/bash
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor exec eg
  conductor exec eg -- ps aux
  conductor exec -e LANG=C -w /srv -u nobody eg -- date
  conductor exec -d eg -- sh -c 'sleep 60; echo late > /late'")]
pub struct Exec {
    /// Container to run it in
    pub name: ContainerName,
    /// Return when it has begun; what it prints is dropped
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    process: ProcessOptions,
}

/// Where the output of a detached one goes: the container's log is its first process's.
const NOWHERE: &str = "/dev/null";

impl Exec {
    /// Runs it and, unless it is detached, stays until it ends; says first what it does, unless `quiet`.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be started in it.
    pub fn run(self, store: &Store, quiet: bool) -> Result<ExitCode, Failure> {
        let talk = self.process.talk(self.detach)?;
        let wishes = self.process.wishes(talk)?;
        let (record, init) = store.running_container(&self.name, "enter")?;
        let cgroup = cgroup::of(&store.tag(&self.name))?;
        cgroup::refuse_frozen(&cgroup, &self.name)?;
        let process = Process::joining(&record, wishes);
        if !quiet {
            say(&format!("Executing {} in {} container!\n", process.command.join(" "), self.name))?;
        }
        if self.detach {
            let nowhere = File::options().write(true).open(NOWHERE).or_cannot("open", NOWHERE)?;
            exec::start(&init, &cgroup, &process, Voice::Log(nowhere.as_fd()))?.child.release();
            return Ok(ExitCode::SUCCESS);
        }
        let (stdio, relays) = if talk == Talk::Direct { Stdio::of_caller()? } else { Default::default() };
        let voice = match talk {
            Talk::Direct => Voice::Callers(&stdio),
            Talk::Terminal => Voice::Terminal(terminal::size(io::stdin().as_fd()).ok()),
        };
        let signals = Signals::hold()?;
        let joined = exec::start(&init, &cgroup, &process, voice)?;
        let exit = stay(joined.child, Talking { terminal: joined.terminal, stdio, relays }, signals, Role::Other)?;
        Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX)))
    }
}
