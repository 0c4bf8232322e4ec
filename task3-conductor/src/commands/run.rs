//! `conductor run IMAGE NAME [-- COMMAND]`: start a container.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::signal::Signal;
use nsutil::process::Exit;
use nsutil::terminal;

use super::options::{ContainerOptions, ProcessOptions};
use crate::container::create;
use crate::container::create::Voice;
use crate::container::plan::{Plan, Talk};
use crate::container::relay::Stdio;
use crate::container::terminal::{Role, Signals, Talking, stay};
use crate::container::{monitor, stop};
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::{ContainerName, ImageName};
use crate::store::Store;
use crate::store::exit_code::ExitCodeFile;

/// Start a container and run a command in it: the one given, the image's, or /bin/bash
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor run mydebian eg
  conductor run -d mydebian web -- sleep infinity
  conductor run --rm mydebian once -- ip address
  conductor run --rm -v ./src:/src:ro -w /src -u nobody mydebian make -- ls -l
  conductor run -d --memory 256m --cpus 0.5 --pids-limit 100 --init mydebian small -- sleep infinity")]
pub struct Run {
    /// Image to make it from
    image: ImageName,
    /// Name for the container
    pub name: ContainerName,
    #[command(flatten)]
    container: Box<ContainerOptions>,
    #[command(flatten)]
    process: ProcessOptions,
}

impl Run {
    /// Starts it and, unless it is detached, stays until it ends.
    ///
    /// # Errors
    /// When it could not be started; nothing of it stays then.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let detach = self.container.detach;
        let talk = self.process.talk(detach)?;
        let wishes = self.container.wishes(self.process.wishes(talk)?)?;
        // Nobody may remove the image's layers until the container stands in the list of those who use them.
        let layers_stay = store.lock_layers_shared()?;
        let plan = Plan::new(self.name, store.image(&self.image)?, wishes);
        let claim = store.claim(&plan.name, |lock| stop::take_back(store, &plan.name, lock))?;
        if detach {
            monitor::start(store, &plan, claim)?;
            layers_stay.release()?;
            say(&format!("{}\n", plan.name))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (stdio, relays) = if talk == Talk::Direct { Stdio::of_caller()? } else { Default::default() };
        let voice = match talk {
            Talk::Direct => Voice::Callers(&stdio),
            // Asked for without being at one: it has the size that the kernel gives.
            Talk::Terminal => Voice::Terminal(terminal::size(io::stdin().as_fd()).ok()),
        };
        let exit_code = ExitCodeFile::prepare(claim.directory())?;
        let signals = Signals::hold()?;
        let started = create::start(store, &plan, claim, voice)?;
        layers_stay.release()?;
        let talking = Talking { terminal: started.terminal, stdio, relays };
        let stayed = stay(started.init, talking, signals, Role::First);
        // Nobody may have stayed to the end: then it was killed, and its container goes all the same.
        let exit = stayed.as_ref().map_or(Exit::Signal(Signal::SIGKILL), |exit| *exit);
        let ended = monitor::end(store, &plan, &exit_code, exit);
        match stayed {
            Ok(exit) => {
                ended.map(|()| ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX))).map_err(Failure::from)
            }
            Err(error) => Err(Failure::from(error).and(ended)),
        }
    }
}
