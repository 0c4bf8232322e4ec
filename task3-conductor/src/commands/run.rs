//! `conductor run IMAGE NAME [-- COMMAND]`: create a container and run a command in it.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::signal::Signal;
use nsutil::process::Exit;
use nsutil::terminal;

use super::args::{ContainerArgs, ProcessArgs};
use crate::container::create;
use crate::container::create::Output;
use crate::container::plan::{Plan, Stdio};
use crate::container::relay::ReplacedStdio;
use crate::container::terminal::{AttachedStreams, ForwardedSignals, ProcessRole, attach_until_exit};
use crate::container::{monitor, stop};
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::{ContainerName, ImageName};
use crate::store::Store;
use crate::store::exit_code::ExitCodeFile;

/// Create a container and run a command in it: the given one, the image's, or /bin/bash
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor run mydebian eg
  conductor run -d mydebian web -- sleep infinity
  conductor run --rm mydebian once -- ip address
  conductor run --rm -v ./src:/src:ro -w /src -u nobody mydebian make -- ls -l
  conductor run -d --memory 256m --cpus 0.5 --pids-limit 100 --init mydebian small -- sleep infinity")]
pub struct Run {
    /// Image of the container
    image: ImageName,
    /// Name of the container
    pub name: ContainerName,
    #[command(flatten)]
    container: Box<ContainerArgs>,
    #[command(flatten)]
    process: ProcessArgs,
}

impl Run {
    /// Starts the container and, unless detached, waits until it exits.
    ///
    /// # Errors
    /// When it could not be started; nothing of it is left then.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let detach = self.container.detach;
        let stdio = self.process.stdio(detach)?;
        let options = self.container.options(self.process.options(stdio)?)?;
        // Keeps `rmcache` from removing the image's layers until the container is recorded as their user.
        let layers_stay = store.lock_layers_shared()?;
        let plan = Plan::new(self.name, store.image(&self.image)?, options);
        let claim = store.claim(&plan.name, |lock| stop::tear_down(store, &plan.name, lock))?;
        if detach {
            monitor::start(store, &plan, claim)?;
            layers_stay.release()?;
            say(&format!("{}\n", plan.name))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (replaced, relays) = if stdio == Stdio::Inherit { ReplacedStdio::of_caller()? } else { Default::default() };
        let output = match stdio {
            Stdio::Inherit => Output::Inherit(&replaced),
            // --tty without a terminal: the new one has the kernel's default size.
            Stdio::Terminal => Output::Terminal(terminal::size(io::stdin().as_fd()).ok()),
        };
        let exit_code = ExitCodeFile::prepare(claim.directory())?;
        let signals = ForwardedSignals::hold()?;
        let started = create::start(store, &plan, claim, output)?;
        layers_stay.release()?;
        let streams = AttachedStreams { terminal: started.terminal, replaced, relays };
        let exited = attach_until_exit(started.init, streams, signals, ProcessRole::Init);
        // If waiting failed, the process was killed; the container is removed all the same.
        let exit = exited.as_ref().map_or(Exit::Signal(Signal::SIGKILL), |exit| *exit);
        let ended = monitor::end(store, &plan, &exit_code, exit);
        match exited {
            Ok(exit) => {
                ended.map(|()| ExitCode::from(u8::try_from(exit.code()).unwrap_or(u8::MAX))).map_err(Failure::from)
            }
            Err(error) => Err(Failure::from(error).and(ended)),
        }
    }
}
