//! Starts a command in the background and waits until it has taken effect.
//!
//! The command may run as long as its container or service, or exit with code 0 and leave that to another process, as
//! some tools' `run` and some services' `run.sh` do. Such a process is recognised because it writes to the log.

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
    /// The processes that wrote to the service's log before the start.
    earlier: Vec<Pid>,
    began: Instant,
}

impl<'a> Background<'a> {
    /// Starts it; its output is appended to the service's log.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be written.
    pub fn start(conductor: &'a Conductor, service: &'a str, arguments: &[&str], why: &str) -> Result<Self> {
        let earlier = conductor.writers(service)?;
        let process = conductor.background(service, arguments, why)?;
        Ok(Self { conductor, service, process, earlier, began: Instant::now() })
    }

    /// Waits until `is_so` returns true.
    ///
    /// # Errors
    /// When the command has ended before that, or it takes too long; with the last line of the log.
    pub fn wait_until(mut self, is_so: impl Fn() -> bool) -> Result<()> {
        while !is_so() {
            let why = match self.process.try_wait().or_cannot("ask after", "a command in the background")? {
                Some(status) if !self.lost_race(status)? => format!("its command ended with {status}"),
                _ if self.began.elapsed() < PATIENCE => {
                    // There is no event for another process being ready, so poll.
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
