//! `conductor exec NAME [-- COMMAND]`: run a command in a running container.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nsutil::terminal;

use super::options::ProcessOptions;
use crate::cli::say;
use crate::failure::Failure;
use crate::name::ContainerName;
use crate::plan::{Process, Talk};
use crate::runtime::attach::{Role, Signals, Talking, stay};
use crate::runtime::cgroup;
use crate::runtime::exec;
use crate::runtime::relay::Stdio;
use crate::store::Store;

/// Run a command in a running container: the one given, or /bin/bash
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor exec eg
  conductor exec eg -- ps aux
  conductor exec -e LANG=C -w /srv -u nobody eg -- date")]
pub struct Exec {
    /// Container to run it in
    pub name: ContainerName,
    #[command(flatten)]
    process: ProcessOptions,
}

impl Exec {
    /// Runs it and stays until it ends; says first what it does, unless `quiet`.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be started in it.
    pub fn run(self, store: &Store, quiet: bool) -> Result<ExitCode, Failure> {
        let talk = self.process.talk(false)?;
        let wishes = self.process.wishes(talk)?;
        let (record, init) = store.running_container(&self.name, "enter")?;
        let process = Process::joining(&record, wishes);
        if !quiet {
            say(&format!("Executing {} in {} container!\n", process.command.join(" "), self.name))?;
        }
        let size = (talk == Talk::Terminal).then(|| terminal::size(io::stdin().as_fd()).ok());
        let (stdio, relays) = if size.is_none() { Stdio::of_caller()? } else { Default::default() };
        let signals = Signals::hold()?;
        let joined = exec::start(&init, &cgroup::of(&store.tag(&self.name))?, &process, size, &stdio)?;
        let exit = stay(joined.child, Talking { terminal: joined.terminal, stdio, relays }, signals, Role::Other)?;
        Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX)))
    }
}
