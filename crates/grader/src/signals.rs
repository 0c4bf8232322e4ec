//! Signals that ask the grader to end: they wait until the box is taken down.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{IntoExit, OrCannot, Result};

/// SIGINT and SIGTERM, kept from ending us while a box stands; given back when dropped.
#[derive(Debug)]
pub struct Signals {
    /// Readable when one came.
    pub fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Holds them back in this thread.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn held_back() -> Result<Signals> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            mask.add(signal);
        }
        let before = mask
            .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
            .or_cannot("hold back", "signals")
            .into_broken()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .or_cannot("hold back", "signals")
            .into_broken()?;
        Ok(Signals { fd, before })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}
