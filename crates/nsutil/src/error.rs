//! Errors that say what was tried, on what, and why the kernel refused.
//!
//! A failed system call leaves only a number in `errno` (errno(3)). "Operation not permitted" alone does not help: this
//! module adds the attempt and the object where the call is made, and `main` prints the whole once:
//!
//! ```
//! use nsutil::error::{OrCannot, line};
//! let refused = std::fs::read("/no/such/file").or_cannot("read", "/no/such/file").unwrap_err();
//! assert_eq!(line(&refused), "cannot read /no/such/file: No such file or directory (ENOENT)");
//! ```
//!
//! Look: `strace -e trace=openat cat /no/such/file` shows the number's name as the kernel returns it.

use std::fmt::{self, Display};
use std::io;

use nix::errno::Errno;

/// What was tried, on what, and why it failed.
///
/// `Display` leaves out the reason; [`line()`] joins it on, as `main` does for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {attempt}")]
pub struct Error {
    attempt: String,
    #[source]
    cause: Cause,
    hint: Option<String>,
}

/// Result whose error says what was tried.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The kernel's reason.
    Kernel(Errno),
    /// A reason as text.
    Words(String),
    /// A failed attempt that was part of this one.
    Attempt(Box<Error>),
}

/// Turns a bare failure into an [`Error`] where the call is made.
pub trait OrCannot<T> {
    /// Adds the attempt and its object: `.or_cannot("mount", dir.display())` reads "cannot mount /mnt: …".
    ///
    /// # Errors
    /// The original failure with attempt and object.
    fn or_cannot(self, attempt: impl Display, object: impl Display) -> Result<T>;
}

impl<T, E: Into<Cause>> OrCannot<T> for std::result::Result<T, E> {
    fn or_cannot(self, attempt: impl Display, object: impl Display) -> Result<T> {
        self.map_err(|cause| Error::new(attempt, object, cause))
    }
}

impl Error {
    /// An error for `attempt` on `object`, because of `cause`.
    pub fn new(attempt: impl Display, object: impl Display, cause: impl Into<Cause>) -> Self {
        let attempt = format!("{attempt} {object}").trim_end().to_owned();
        Self { attempt, cause: cause.into(), hint: None }
    }

    /// Combines the outcomes of several independent parts of an attempt.
    ///
    /// # Errors
    /// The only failure, or all of them as text.
    pub fn all(attempt: &str, object: &str, outcomes: impl IntoIterator<Item = Result<()>>) -> Result<()> {
        let mut failures: Vec<Self> = outcomes.into_iter().filter_map(Result::err).collect();
        if failures.len() < 2 {
            return failures.pop().map_or(Ok(()), Err);
        }
        let words: Vec<String> = failures.iter().map(line).collect();
        Err(Self::new(attempt, object, words.join("; ")))
    }

    /// Sets the hint: what the user can do. It replaces an earlier one, since a caller knows more of the user's
    /// options.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same cause and hint with another attempt, for a caller that knows its purpose.
    #[must_use]
    pub fn with_attempt(self, attempt: impl Display, object: impl Display) -> Self {
        Self { hint: self.hint, ..Self::new(attempt, object, self.cause) }
    }

    /// The errno at the root of the error, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        match &self.cause {
            Cause::Kernel(errno) => Some(*errno),
            Cause::Words(_) => None,
            Cause::Attempt(inner) => inner.errno(),
        }
    }

    fn outermost_hint(&self) -> Option<&str> {
        match (&self.hint, &self.cause) {
            (Some(hint), _) => Some(hint),
            (None, Cause::Attempt(inner)) => inner.outermost_hint(),
            (None, _) => None,
        }
    }

    /// Serialises the error for a pipe (see `process::Report`); [`Error::from_bytes`] reads it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (errno, words) = match &self.cause {
            Cause::Kernel(errno) => (*errno as i32, String::new()),
            Cause::Words(words) => (0, words.clone()),
            Cause::Attempt(inner) => (0, chain(inner)),
        };
        let hint = self.outermost_hint().unwrap_or_default();
        [&errno.to_string(), &self.attempt, &words, hint].map(|field| field.replace('\0', "")).join("\0").into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut fields = text.split('\0').map(str::to_owned);
        let errno = fields.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let attempt = fields.next().unwrap_or_default();
        let words = fields.next().unwrap_or_default();
        let hint = fields.next().filter(|hint| !hint.is_empty());
        let cause = if errno == 0 { Cause::Words(words) } else { Cause::Kernel(Errno::from_raw(errno)) };
        Self { attempt, cause, hint }
    }
}

/// The error in one line: attempt, reason and hint.
pub fn line(error: &Error) -> String {
    match error.outermost_hint() {
        Some(hint) => format!("{}; {hint}", chain(error)),
        None => chain(error),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // `Cause::Attempt` has no text of its own; its source does.
        let text = cause.to_string();
        if !text.is_empty() {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

impl Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(errno) => write!(out, "{} ({errno:?})", errno.desc()),
            Self::Words(words) => out.write_str(words),
            Self::Attempt(_) => Ok(()),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Attempt(inner) = self { Some(inner) } else { None }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Kernel(Errno::from_raw(errno.raw_os_error()))
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::Kernel(Errno::from_raw(number)),
            None => Self::Words(error.to_string()),
        }
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Attempt(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_attempt_object_errno_and_cure() {
        let refused = Error::new("mount", "/mnt", Errno::EPERM).hint("run it as root");
        assert_eq!(line(&refused), "cannot mount /mnt: Operation not permitted (EPERM); run it as root");
    }

    #[test]
    fn a_nested_error_is_printed_outermost_first_and_keeps_its_hint() {
        let inner = Error::new("open", "/x", Errno::ENOENT).hint("never seen").hint("make it");
        let outer = Error::new("fill", "the root", inner);
        assert_eq!(line(&outer), "cannot fill the root: cannot open /x: No such file or directory (ENOENT); make it");
        assert_eq!(outer.errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn every_one_of_several_failures_is_reported() {
        let failed = |object: &str| Err(Error::new("remove", object, Errno::EBUSY));
        assert_eq!(Error::all("take back", "it", [Ok(()), Ok(())]), Ok(()));
        assert_eq!(Error::all("take back", "it", [Ok(()), failed("a")]), failed("a"));
        let told = line(&Error::all("take back", "it", [failed("a"), Ok(()), failed("b")]).unwrap_err());
        assert!(
            told.starts_with("cannot take back it: cannot remove a: ") && told.contains("; cannot remove b: "),
            "{told}"
        );
    }

    #[test]
    fn an_error_survives_the_way_through_a_pipe() {
        let nested = Error::new("fill", "the root", Error::new("open", "/x", Errno::ENOENT));
        for error in [Error::new("exec", "/bin/no", Errno::ENOENT).hint("look"), Error::new("a", "b", "words"), nested]
        {
            assert_eq!(line(&Error::from_bytes(&error.to_bytes())), line(&error));
        }
    }
}
