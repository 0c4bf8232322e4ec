//! A thread that only waits, and ends the box when the grader's other threads do not.
//!
//! A thread that looks into the box may have to wait for it: in a look-up, a read, a message that does not come. This thread
//! looks at nothing. It kills the box's first process when the time is up, or when a signal to the grader is not taken for a
//! second; then whatever the others wait for has an end.
//! Manual: pidfd_send_signal(2), signalfd(2), pid_namespaces(7).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::pidfd_send_signal;

use super::worker::Worker;
use crate::pace::Pace;

/// How long a signal may wait to be taken.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the thread sleeps at most before it asks how crowded the machine is.
const LOOK: Duration = Duration::from_millis(500);

/// The thread; it ends when dropped.
#[derive(Debug)]
pub struct Watchdog {
    _thread: Worker,
    has_acted: Arc<AtomicBool>,
}

impl Watchdog {
    /// Kills `init` after `limit`, or when `signals` has been readable for a second.
    ///
    /// # Errors
    /// Those of pipe2(2) and dup(2).
    pub fn start(init: BorrowedFd<'_>, limit: Duration, signals: BorrowedFd<'_>) -> io::Result<Watchdog> {
        let (init, signals) = (init.try_clone_to_owned()?, signals.try_clone_to_owned()?);
        let has_acted = Arc::<AtomicBool>::default();
        let acts = Arc::clone(&has_acted);
        let wait = move |stopped: &OwnedFd| {
            if is_to_end(stopped, limit, &signals) {
                acts.store(true, Ordering::Relaxed);
                let _ = pidfd_send_signal(&init, rustix::process::Signal::KILL);
            }
        };
        Ok(Watchdog { _thread: Worker::start("watchdog", wait)?, has_acted })
    }

    /// Whether it has killed the box.
    pub fn has_acted(&self) -> bool {
        self.has_acted.load(Ordering::Relaxed)
    }
}

/// Waits until the box must end (true) or the watchdog is stopped (false).
fn is_to_end(stopped: &OwnedFd, limit: Duration, signals: &OwnedFd) -> bool {
    let mut pace = Pace::start();
    let mut came: Option<Instant> = None;
    loop {
        pace.tick(|| 0);
        let left = limit.saturating_sub(pace.passed());
        let left = came.map_or(left, |came| left.min(PATIENCE.saturating_sub(came.elapsed())));
        if left.is_zero() {
            return true;
        }
        // While a signal waits, it is asked for now and then whether it still does.
        let left = left.min(if came.is_some() { Duration::from_millis(50) } else { LOOK });
        let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        if came.is_none() {
            fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        }
        // Rounded up: a part of a millisecond must not become a busy loop.
        let millis = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, millis).is_ok() && fds.first().is_some_and(|fd| fd.any().unwrap_or(true)) {
            return false;
        }
        came =
            if super::readable(signals.as_fd(), Duration::ZERO) { came.or_else(|| Some(Instant::now())) } else { None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn the_end_comes_with_the_time_or_an_untaken_signal_and_not_when_it_is_stopped() {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
        let ((stopped, stop), (signals, signal)) = (pipe(), pipe());
        let in_ms = Duration::from_millis;
        assert!(is_to_end(&stopped, in_ms(30), &signals));
        rustix::io::write(&signal, b"x").unwrap();
        let start = Instant::now();
        assert!(is_to_end(&stopped, in_ms(60_000), &signals));
        assert!((PATIENCE..PATIENCE * 3).contains(&start.elapsed()));
        drop(stop);
        assert!(!is_to_end(&stopped, in_ms(60_000), &signals));
    }
}
