//! Why a submission got no verdict: reasons that are not the submission's doing, and the exit code of each.

use thiserror::Error;

/// Something that kept the grader from grading.
#[derive(Debug, Error)]
pub enum Fault {
    /// The command line asks for something that is not there.
    #[error("{0}")]
    Usage(String),
    /// The hand-in has no program for this task.
    #[error("{0}")]
    Missing(String),
    /// This machine, or this user, cannot run the checks; says what is missing and what to do.
    #[error("{0}")]
    CannotRun(String),
    /// The submission does not build: the one fault that is graded (no marks), with the first error.
    #[error("does not build: {0}")]
    DoesNotBuild(String),
    /// A signal asked the grader to end; the box is already taken down.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The grader is wrong.
    #[error("fault in the grader: {0}")]
    Broken(String),
}

impl Fault {
    /// The exit code with which `grade` ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Fault::DoesNotBuild(_) => 1,
            Fault::Usage(_) | Fault::Missing(_) => 2,
            Fault::CannotRun(_) => 3,
            Fault::Broken(_) => 70,
            Fault::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(*signal).unwrap_or(0)),
        }
    }
}
