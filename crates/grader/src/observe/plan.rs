//! The plan of one run: the submission, how it is watched, and its limits.

use crate::record::{Observer, StdoutKind};
use crate::submission::Submission;
use crate::task::Task;

/// How a submission is run once.
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
    /// Whether the submission's folder is kept after the run, for a person to look at: see [`crate::record::Run::kept`].
    pub keep: bool,
    /// On v2: whether the box's cgroup root has `cpu` in `cgroup.subtree_control` before the program starts.
    pub cpu_enabled: bool,
}
