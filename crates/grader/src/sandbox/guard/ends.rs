//! Holds exiting processes until the observer has looked at them, in boxes where it asks for that.
//!
//! Without a tracer, a process that writes nothing and ends soon is not seen. At exit_group(2) it still has all its
//! namespaces, and so has the target of a kill(2). In such a box these calls ask the guard, which lets them continue when
//! the observer has looked. The guard answers one question at a time, so no other process ends this way meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::sandbox::filter::{Rule, When};

/// How long a call waits to be looked at.
const PATIENCE: Duration = Duration::from_secs(5);
/// The calls by which a process ends, or ends another.
const CALLS: [i64; 6] = [
    libc::SYS_exit_group,
    libc::SYS_exit,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_send_signal,
];

/// The rules of a box whose ends are looked at.
pub fn rules() -> impl Iterator<Item = Rule> {
    CALLS.into_iter().map(|nr| (nr, When::Always))
}

/// A call that waits; it goes on when this is dropped.
#[derive(Debug)]
pub struct Ending {
    /// The thread that makes the call.
    pub tid: i32,
    /// Whether it ends its own process.
    pub is_own: bool,
    _goes_on: Sender<()>,
}

/// The channel on which they are announced.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    listener: Arc<Mutex<Option<Sender<Ending>>>>,
    missed: Arc<AtomicBool>,
}

impl Ends {
    /// From now on they are announced here.
    pub fn hear(&self) -> Receiver<Ending> {
        let (tell, heard) = channel();
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
        heard
    }

    /// From now on they are not announced any more.
    pub fn stop(&self) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether one went on that had not been looked at.
    pub fn were_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// Announces the call `nr` of `tid`, and waits until the observer has looked.
    pub fn tell(&self, tid: i32, nr: i64) {
        if !CALLS.contains(&nr) {
            return;
        }
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(listener) = listener else { return };
        let (goes_on, seen) = channel();
        let ending = Ending { tid, is_own: nr == libc::SYS_exit_group, _goes_on: goes_on };
        // The end of the sender is all that is waited for.
        let seen = listener.send(ending).is_ok() && seen.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected);
        self.missed.fetch_or(!seen, Ordering::Relaxed);
    }
}
