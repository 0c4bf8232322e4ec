//! Errors with exit codes: conductor's own failures are distinguished from those of the command inside.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nsutil::Error;
use nsutil::error::line;

/// An error and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// None if it has already been reported.
    error: Option<Error>,
    code: u8,
}

/// Conductor itself failed; other codes are those of the command in the container.
pub const CONDUCTOR_FAILED: u8 = 125;
/// The command exists but cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command does not exist.
const NOT_FOUND: u8 = 127;

impl Failure {
    /// The command of a container could not be executed.
    pub fn of_command(error: Error) -> Self {
        let code = match error.errno() {
            Some(Errno::ENOENT | Errno::ENOTDIR) => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        Self { error: Some(error), code }
    }

    /// A failure that another process of conductor has already reported, with its exit code.
    pub fn already_reported(code: i32) -> Self {
        Self { error: None, code: u8::try_from(code).unwrap_or(CONDUCTOR_FAILED) }
    }

    /// The error, without the exit code.
    pub fn into_error(self) -> Error {
        self.error.unwrap_or_else(|| Error::new("continue", "", "the reason is printed above"))
    }

    /// The code to end with.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Whether it is EPIPE because the reader of stdout, such as `head`, has exited.
    pub fn is_broken_pipe(&self) -> bool {
        let stdout = io::stdout();
        let mut stdout = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
        let is_broken = |end: &PollFd<'_>| end.revents().is_some_and(|state| state.contains(PollFlags::POLLERR));
        self.error.as_ref().and_then(Error::errno) == Some(Errno::EPIPE)
            && poll(&mut stdout, PollTimeout::ZERO).is_ok()
            && stdout.iter().any(is_broken)
    }

    /// The error in one line; none if already reported.
    fn line(&self) -> Option<String> {
        self.error.as_ref().map(line)
    }

    /// Prints it to stderr.
    pub fn report(&self) {
        if let Some(line) = self.line() {
            remark(line);
        }
    }

    /// Adds an error that occurred while undoing.
    #[must_use]
    pub fn and(self, undone: Result<(), Error>) -> Self {
        match (self.line(), undone) {
            (_, Ok(())) => self,
            (None, Err(other)) => Self { error: Some(other), code: self.code },
            (Some(first), Err(other)) => {
                let all = format!("{first}; and then {}", line(&other));
                Self { error: Some(Error::new("start", "the container", all)), code: self.code }
            }
        }
    }
}

/// Prints a line to stderr. Failure to print is ignored.
pub fn remark(text: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "conductor: {text}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error: Some(error), code: CONDUCTOR_FAILED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_other_than_stdout_is_reported() {
        let failure = Failure::from(Error::new("write to", "iptables-restore", Errno::EPIPE));
        assert!(!failure.is_broken_pipe(), "whoever reads our stdout is still there");
    }
}
