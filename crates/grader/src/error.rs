//! Why `grade` ends without a verdict: what was tried, on what, the kernel's reason, and the exit code.
//!
//! A failed system call leaves only a number in `errno`. [`OrCannot`] joins it with the attempt and its object where the call
//! is made; `main` prints the chain once: "cannot read rubric.toml: No such file or directory".
//!
//! Manual: errno(3).

use std::path::Path;

/// Result whose error says what was tried.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What kept the grader from grading. `Display` leaves out the cause; `Exit::line` joins it on.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct Error {
    /// The kind of error, and so the exit code.
    pub exit: Exit,
    attempt: String,
    #[source]
    cause: Option<Cause>,
}

/// The reasons for which `grade` ends without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command line asks for something that is not there.
    Usage,
    /// The hand-in has no program for this task.
    Missing,
    /// This machine, or this user, cannot run the checks; the text says what is missing and what to do.
    CannotRun,
    /// The submission does not build: the one error that is graded (no marks), with the compiler's first error.
    DoesNotBuild,
    /// A signal asked the grader to end; the box is already taken down.
    Interrupted(i32),
    /// The grader is wrong.
    Broken,
}

/// Turns a bare failure into an [`Error`] where the call is made.
pub trait OrCannot<T> {
    /// Names the attempt and its object: `.or_cannot("read", path)` gives "cannot read PATH", with this failure as the cause,
    /// as [`Exit::CannotRun`].
    fn or_cannot(self, verb: &str, object: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<Cause>> OrCannot<T> for Result<T, E> {
    fn or_cannot(self, verb: &str, object: impl AsRef<Path>) -> Result<T> {
        self.map_err(|cause| {
            let attempt = format!("cannot {verb} {}", object.as_ref().display());
            Error { exit: Exit::CannotRun, attempt, cause: Some(cause.into()) }
        })
    }
}

/// Changes the [`Exit`] of an error.
pub trait IntoExit<T> {
    /// The error as [`Exit::Usage`]: the person who typed the command named a file that cannot be used.
    fn into_usage(self) -> Result<T>;
    /// The error as [`Exit::Broken`].
    fn into_broken(self) -> Result<T>;
}

impl<T> IntoExit<T> for Result<T> {
    fn into_usage(self) -> Result<T> {
        self.map_err(|error| Error { exit: Exit::Usage, ..error })
    }

    fn into_broken(self) -> Result<T> {
        self.map_err(|error| Error { exit: Exit::Broken, ..error })
    }
}

impl Error {
    fn new(exit: Exit, attempt: impl Into<String>) -> Error {
        Error { exit, attempt: attempt.into(), cause: None }
    }

    /// An error of [`Exit::Usage`].
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Exit::Usage, what)
    }

    /// An error of [`Exit::Missing`].
    pub fn missing(what: impl Into<String>) -> Error {
        Error::new(Exit::Missing, what)
    }

    /// An error of [`Exit::CannotRun`].
    pub fn cannot_run(what: impl Into<String>) -> Error {
        Error::new(Exit::CannotRun, what)
    }

    /// An error of [`Exit::DoesNotBuild`].
    pub fn does_not_build(what: impl Into<String>) -> Error {
        Error::new(Exit::DoesNotBuild, what)
    }

    /// An error of [`Exit::Interrupted`].
    pub fn interrupted(signal: i32) -> Error {
        Error::new(Exit::Interrupted(signal), format!("interrupted by signal {signal}"))
    }

    /// An error of [`Exit::Broken`].
    pub fn broken(what: impl Into<String>) -> Error {
        Error::new(Exit::Broken, what)
    }

    /// The error and its causes in one line, for people.
    pub fn line(&self) -> String {
        let prefix = match self.exit {
            Exit::DoesNotBuild => "does not build: ",
            Exit::Broken => "fault in the grader: ",
            _ => "",
        };
        format!("{prefix}{}", self.reason())
    }

    /// The error and its causes, without the words for its [`Exit`].
    pub fn reason(&self) -> String {
        let (mut text, mut cause) = (self.attempt.clone(), std::error::Error::source(self));
        while let Some(why) = cause {
            text += &format!(": {why}");
            cause = why.source();
        }
        text
    }

    /// The exit code with which `grade` ends.
    pub fn exit_code(&self) -> u8 {
        match self.exit {
            Exit::DoesNotBuild => 1,
            Exit::Usage | Exit::Missing => 2,
            Exit::CannotRun => 3,
            Exit::Broken => 70,
            Exit::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        }
    }
}
