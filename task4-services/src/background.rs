//! A command in the background, and the wait for what it is to bring about.
//!
//! It may go on as long as that lasts, or end with code 0 after it has left that to another process: some tools' `run`
//! does, and some services' `run.sh`. Who was left is seen by who writes to the log.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nsutil::error::{Error, OrCannot, Result};
use rustix::process::Pid;

use crate::conductor::Conductor;

/// Longest wait for a container's first process, or for a service's first answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command in the background, started for a service.
#[derive(Debug)]
pub struct Background<'a> {
    conductor: &'a Conductor,
    service: &'a str,
    process: Child,
    /// Who wrote to the service's log before.
    earlier: Vec<Pid>,
    began: Instant,
}

impl<'a> Background<'a> {
    /// Starts it; what it prints is added to the service's log.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be written.
    pub fn start(conductor: &'a Conductor, service: &'a str, arguments: &[&str], why: &str) -> Result<Self> {
        let earlier = conductor.writers(service)?;
        let process = conductor.background(service, arguments, why)?;
        Ok(Self { conductor, service, process, earlier, began: Instant::now() })
    }

    /// Waits until something is so.
    ///
    /// # Errors
    /// When the command has ended without it, or it takes too long; with the last words of the log.
    pub fn wait_until(mut self, is_so: impl Fn() -> bool) -> Result<()> {
        while !is_so() {
            let why = match self.process.try_wait().or_cannot("ask after", "a command in the background")? {
                Some(status) if !self.lost_race(status)? => format!("its command ended with {status}"),
                _ if self.began.elapsed() < PATIENCE => {
                    // Nothing tells us when another process is ready, so we ask again.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                _ => format!("there is no answer after {} s", PATIENCE.as_secs()),
            };
            return Err(self.failed(why));
        }
        Ok(())
    }

    fn lost_race(&self, status: ExitStatus) -> Result<bool> {
        let writers = self.conductor.writers(self.service)?;
        Ok(status.success() && writers.iter().any(|writer| !self.earlier.contains(writer)))
    }

    fn failed(&self, why: String) -> Error {
        let log = self.conductor.log(self.service);
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().last().map(|line| format!(", saying {line:?}")).unwrap_or_default();
        Error::new("start", self.service, format!("{why}{last}"))
            .hint(format_args!("what it said is in {}", log.display()))
    }
}
