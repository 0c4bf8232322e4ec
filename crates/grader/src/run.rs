//! One run: a fresh box, a submission in it, an observer beside it, and the record of what was seen.

use crate::fault::Fault;
use crate::submission::Submission;
use crate::task::Task;
use crate::trace::{Observer, Run, StdoutKind};

/// How a submission is to be run once.
#[derive(Debug, Clone, Copy)]
pub struct RunPlan<'a> {
    /// The task it is run for.
    pub task: Task,
    /// What is run.
    pub submission: &'a Submission,
    /// How it is watched.
    pub observer: Observer,
    /// What its stdout is. [`Observer::Frozen`] needs [`StdoutKind::Pipe`].
    pub stdout: StdoutKind,
    /// What is random in the box (its host name, the first process id) follows from this number.
    pub seed: u64,
    /// Factor on the time limit.
    pub time_scale: f64,
    /// Whether the submission's folder is kept after the run, for a person to look at.
    pub keep: bool,
    /// On v2: whether the box's cgroup root has `cpu` in `cgroup.subtree_control` before the program starts.
    pub cpu_enabled: bool,
}

/// Runs a submission once, and takes the box down again.
///
/// # Errors
/// [`Fault::CannotRun`] where this machine or user cannot have a box, [`Fault::DoesNotBuild`] with the compiler's first
/// error, [`Fault::Interrupted`] when SIGINT or SIGTERM came (the box is gone by then), [`Fault::Broken`] for our own.
pub fn observe(plan: &RunPlan<'_>) -> Result<Run, Fault> {
    let _ = plan;
    Err(Fault::CannotRun("no box yet".to_owned()))
}
