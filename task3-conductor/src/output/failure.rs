//! What went wrong, and the code to end with: scripts tell our own failures from those of the command inside.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nsutil::Error;
use nsutil::error::line;

/// An error, and what conductor ends with because of it.
#[derive(Debug)]
pub struct Failure {
    /// None when it has been told already.
    error: Option<Error>,
    code: u8,
}

/// Conductor itself could not do its part; other codes are those of the command in the container.
pub const CONDUCTOR_FAILED: u8 = 125;
/// The command is there and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command is not there.
const NOT_FOUND: u8 = 127;

impl Failure {
    /// A container was ready, and its command could not be executed in it.
    pub fn of_command(error: Error) -> Self {
        let code = match error.errno() {
            Some(Errno::ENOENT | Errno::ENOTDIR) => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        Self { error: Some(error), code }
    }

    /// A failure that another process of ours has told the user already, with the code it ended with.
    pub fn already_reported(code: i32) -> Self {
        Self { error: None, code: u8::try_from(code).unwrap_or(CONDUCTOR_FAILED) }
    }

    /// What went wrong, where the code does not matter.
    pub fn into_error(self) -> Error {
        self.error.unwrap_or_else(|| Error::new("go on with", "it", "the reason stands above"))
    }

    /// The code to end with.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Whether it is only that whoever read our stdout has gone, as `head` does.
    pub fn is_broken_pipe(&self) -> bool {
        let stdout = io::stdout();
        let mut stdout = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
        let is_broken = |end: &PollFd<'_>| end.revents().is_some_and(|state| state.contains(PollFlags::POLLERR));
        self.error.as_ref().and_then(Error::errno) == Some(Errno::EPIPE)
            && poll(&mut stdout, PollTimeout::ZERO).is_ok()
            && stdout.iter().any(is_broken)
    }

    /// The whole story in one line; none when the user has been told.
    fn line(&self) -> Option<String> {
        self.error.as_ref().map(line)
    }

    /// Says it on stderr.
    pub fn report(&self) {
        if let Some(line) = self.line() {
            remark(line);
        }
    }

    /// The same, with what else went wrong while it was being undone.
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

/// Says something on stderr, in a line of its own. Where nobody can read it, the work goes on.
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
