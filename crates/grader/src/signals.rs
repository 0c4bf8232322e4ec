//! Signals that ask the grader to end: blocked until the box is taken down, and read from a signalfd.
//!
//! Look: `grep SigBlk /proc/PID/status`. Manual: signalfd(2), signal(7).

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{IntoExit, OrCannot, Result};

/// SIGINT, SIGTERM and SIGHUP, blocked while a box exists; unblocked when dropped.
#[derive(Debug)]
pub struct Signals {
    /// Readable when a signal is pending.
    pub fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks them in this thread.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn block() -> Result<Signals> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            mask.add(signal);
        }
        let before = mask
            .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
            .or_cannot("block", "signals")
            .into_broken()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .or_cannot("block", "signals")
            .into_broken()?;
        Ok(Signals { fd, before })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}
