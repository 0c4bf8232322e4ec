//! `conductor exec NAME [-- COMMAND]`: run a command in a running container.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nsutil::Error;
use nsutil::terminal;

use crate::cli::say;
use crate::failure::Failure;
use crate::name::ContainerName;
use crate::plan::{Process, Talk, Variable};
use crate::runtime::attach::{Role, Signals, stay};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::exec;
use crate::store::Store;

/// Run a command in a running container
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  conductor exec eg\n  conductor exec eg -- ps aux\n  conductor exec -e LANG=C eg -- date"
)]
pub struct Exec {
    /// Container to run it in
    name: ContainerName,
    /// Give it a terminal of its own; the default when stdin and stdout are terminals
    #[arg(short, long)]
    tty: bool,
    /// Let it read stdin: so it does, this is for fingers that are used to `-it`
    #[arg(short, long)]
    interactive: bool,
    /// Add a variable to its environment
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    /// Command and its arguments; /bin/bash when left out
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

impl Exec {
    /// Runs it and stays until it ends.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be started in it.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let _ = self.interactive;
        let talk = Talk::choose(self.tty, io::stdin().is_terminal(), io::stdout().is_terminal(), false)?;
        let record = store.container(&self.name)?;
        let Some(init) = record.running()? else {
            let ended = Error::new("enter", format_args!("container {}", self.name), "its first process has ended");
            return Err(ended.hint(format_args!("`conductor stop {}` removes it", self.name)).into());
        };
        let kind = (talk == Talk::Terminal).then(|| std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()));
        let process = Process::joining(&record, self.command, self.env, kind);
        say(&format!("Executing {} in {} container!\n", process.command.join(" "), self.name))?;
        let size = (talk == Talk::Terminal).then(|| terminal::size(io::stdin().as_fd()).ok());
        let signals = Signals::hold()?;
        let joined = exec::start(&init, &Cgroup::of(&store.tag(&self.name))?, &process, size)?;
        let exit = stay(joined.child, joined.terminal, signals, Role::Other)?;
        Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX)))
    }
}
