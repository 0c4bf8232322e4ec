//! `conductor run IMAGE NAME [-- COMMAND]`: start a container.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nsutil::terminal;

use crate::cli::say;
use crate::failure::Failure;
use crate::name::{ContainerName, ImageName};
use crate::plan::{Hostname, Plan, Talk, Variable, Wishes};
use crate::runtime::attach::{Role, Signals, stay};
use crate::runtime::host::{self, Voice};
use crate::runtime::{monitor, teardown};
use crate::store::Store;

/// Start a container and run a command in it
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  conductor run mydebian eg\n  conductor run -d mydebian web -- sleep infinity\n  conductor run --rm mydebian once -- ip address"
)]
pub struct Run {
    /// Image to make it from
    image: ImageName,
    /// Name for the container
    name: ContainerName,
    /// Return at once; `logs` shows what it prints
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal of its own; the default when stdin and stdout are terminals
    #[arg(short, long)]
    tty: bool,
    /// Let it read stdin: so it does, this is for fingers that are used to `-it`
    #[arg(short, long)]
    interactive: bool,
    /// Remove it when its first process ends
    #[arg(long)]
    rm: bool,
    /// Give it a host name of its own
    #[arg(long, value_name = "NAME")]
    hostname: Option<Hostname>,
    /// Add a variable to its environment
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    /// Command and its arguments; the image's, or /bin/bash, when left out
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

impl Run {
    /// Starts it and, unless it is detached, stays until it ends.
    ///
    /// # Errors
    /// When it could not be started; nothing of it stays then.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let _ = self.interactive;
        let talk = Talk::choose(self.tty, io::stdin().is_terminal(), io::stdout().is_terminal(), self.detach)?;
        // Nobody may remove the image's layers until the container stands in the list of those who use them.
        let layers_stay = store.lock_layers_shared()?;
        let wishes = Wishes {
            command: self.command,
            variables: self.env,
            hostname: self.hostname,
            remove_at_end: self.rm,
            terminal: (talk == Talk::Terminal).then(|| std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned())),
        };
        let plan = Plan::new(self.name, store.image(&self.image)?, wishes);
        let claim = store.claim(&plan.name, |lock| teardown::take_back(store, &plan.name, lock))?;
        if self.detach {
            monitor::start(store, &plan, claim)?;
            layers_stay.release()?;
            say(&format!("{}\n", plan.name))?;
            return Ok(ExitCode::SUCCESS);
        }
        let voice = match talk {
            Talk::Direct => Voice::Callers,
            // Asked for without being at one: it has the size that the kernel gives.
            Talk::Terminal => Voice::Terminal(terminal::size(io::stdin().as_fd()).ok()),
        };
        let signals = Signals::hold()?;
        let started = host::start(store, &plan, claim, voice)?;
        layers_stay.release()?;
        let exit = stay(started.init, started.terminal, signals, Role::First)?;
        monitor::end(store, &plan.name, plan.remove_at_end, exit)?;
        Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX)))
    }
}
