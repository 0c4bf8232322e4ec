//! Ctrl-C in the middle of a build: what was begun is undone, and then the build ends as the signal says.
//!
//! A signal that ends the program at once would leave half a layer and a running child. So while something is made,
//! signals wait; whoever waits for the maker looks at them too. One that comes is *put back*, the failure goes up
//! through every guard, and in the end [`deliver`] lets it do what it came for, so the shell sees a program that was ended
//! by SIGINT. Look: `conductor build eg; echo $?` with Ctrl-C. Manual: signal(7), signalfd(2).

use nix::sys::signal::Signal;
use nsutil::error::{Error, Result};
use nsutil::process::{Child, Exit, PidFd, TerminationSignals, unblock};

/// Does `make` while signals wait; after a success they act as before.
///
/// # Errors
/// Those of `make`.
pub fn with_signals_blocked<T>(make: impl FnOnce(&mut TerminationSignals) -> Result<T>) -> Result<T> {
    let made = make(&mut TerminationSignals::block()?)?;
    unblock()?;
    Ok(made)
}

/// Waits for the end of a child; the first signal ends it.
///
/// # Errors
/// The child's own; in words when a signal came.
pub fn wait(child: Child, signals: &mut TerminationSignals) -> Result<Exit> {
    // If a signal came, the child is killed when it is dropped here.
    until_end(child.pidfd(), signals)?;
    child.wait()
}

/// Waits until a process has ended; it is to be killed when a signal came.
///
/// # Errors
/// In words when a signal came.
pub fn until_end(process: &PidFd, signals: &mut TerminationSignals) -> Result<()> {
    match signals.wait_for_signal_or_end(process)? {
        None => Ok(()),
        Some(signal) => Err(interrupted_by(signal, signals)),
    }
}

/// The error of something that a signal broke off.
pub fn interrupted_by(signal: Signal, signals: &TerminationSignals) -> Error {
    // Should it fail, the build ends as one that failed for another reason.
    let _ = signals.raise_again(signal);
    Error::new("go on with", "the build", format!("{signal} interrupted it"))
}

/// Ends the program if a signal was put back.
///
/// # Errors
/// None that the kernel could have.
pub fn deliver() -> Result<()> {
    unblock()
}
