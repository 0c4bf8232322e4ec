//! Handles Ctrl-C during a build: undoes the current step, then ends as the signal demands.
//!
//! If a signal ended the program at once, it would leave half a layer and a running child. So termination signals are
//! blocked during a step, and waiting for a child also waits for them. A signal is *raised again*, the error propagates
//! through every guard, and in the end [`deliver`] unblocks it, so the shell sees a program terminated by SIGINT. Look:
//! `conductor build eg; echo $?` with Ctrl-C. Manual: signal(7), signalfd(2).

use nix::sys::signal::Signal;
use nsutil::error::{Error, Result};
use nsutil::process::{Child, Exit, PidFd, TerminationSignals, unblock};

/// Runs `make` with termination signals blocked; unblocks them after success.
///
/// # Errors
/// Those of `make`.
pub fn with_signals_blocked<T>(make: impl FnOnce(&mut TerminationSignals) -> Result<T>) -> Result<T> {
    let made = make(&mut TerminationSignals::block()?)?;
    unblock()?;
    Ok(made)
}

/// Waits until a child exits; a signal kills it.
///
/// # Errors
/// The child's own; in words when a signal came.
pub fn wait(child: Child, signals: &mut TerminationSignals) -> Result<Exit> {
    // After a signal, dropping the child kills it.
    until_end(child.pidfd(), signals)?;
    child.wait()
}

/// Waits until a process exits, or a signal arrives.
///
/// # Errors
/// In words when a signal came.
pub fn until_end(process: &PidFd, signals: &mut TerminationSignals) -> Result<()> {
    match signals.wait_for_signal_or_end(process)? {
        None => Ok(()),
        Some(signal) => Err(interrupted_by(signal, signals)),
    }
}

/// The error of a step interrupted by a signal.
pub fn interrupted_by(signal: Signal, signals: &TerminationSignals) -> Error {
    // If this fails, the build just ends with an error.
    let _ = signals.raise_again(signal);
    Error::new("finish", "the build", format!("{signal} interrupted it"))
}

/// Ends the program if a signal is pending.
pub fn deliver() -> Result<()> {
    unblock()
}
