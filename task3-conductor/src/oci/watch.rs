//! Ctrl-C while an image is read or written: looked for between two pieces, so that guards undo what was begun.
//!
//! Signals are held back (see [`crate::image::interrupt`]); every read asks whether one waits. It is put back and the read
//! fails, so the error goes up the ordinary way, and in the end the signal acts.

use std::cell::RefCell;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nsutil::error::{OrCannot, Result};
use nsutil::process::TerminationSignals;

/// The signals that are held back.
#[derive(Debug)]
pub struct Watch<'a>(RefCell<&'a mut TerminationSignals>);

impl<'a> Watch<'a> {
    /// Over these.
    pub fn new(requests: &'a mut TerminationSignals) -> Self {
        Self(RefCell::new(requests))
    }

    /// Fails when a signal waits.
    ///
    /// # Errors
    /// In words: which signal.
    pub fn check(&self) -> io::Result<()> {
        let mut requests = self.0.borrow_mut();
        let waits = {
            let mut ends = [PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
            poll(&mut ends, PollTimeout::ZERO).unwrap_or(0) > 0
        };
        if !waits {
            return Ok(());
        }
        match requests.take().map_err(|error| io::Error::other(nsutil::error::line(&error)))? {
            None => Ok(()),
            Some(signal) => {
                let _ = requests.raise_again(signal);
                Err(io::Error::other(format!("{signal} interrupted it")))
            }
        }
    }

    /// The same, as an error of ours.
    ///
    /// # Errors
    /// In words: which signal.
    pub fn go_on(&self, attempt: &str, object: impl std::fmt::Display) -> Result<()> {
        self.check().or_cannot(attempt, object)
    }

    /// A reader that fails when a signal waits.
    pub fn reader<R: Read>(&self, inner: R) -> Watched<'_, 'a, R> {
        Watched { watch: self, inner }
    }
}

/// See [`Watch::reader`].
#[derive(Debug)]
pub struct Watched<'w, 'a, R> {
    watch: &'w Watch<'a>,
    inner: R,
}

impl<R: Read> Read for Watched<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check()?;
        self.inner.read(buffer)
    }
}
