//! From what was seen to what it is worth.
//!
//! A judge is a pure function of the runs: it starts nothing, reads no file and asks no clock. What a check cannot see
//! in a run it does not judge there; where two runs disagree it says so instead of choosing, unless one of them holds
//! positive evidence from the kernel, which no other run can take back: a program that behaves only while it is
//! watched has misbehaved.

use serde::Serialize;

use crate::rubric::{Check, Rubric};
use crate::task::Task;
use crate::trace::Run;

/// What the judge must know of the submission besides its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Written in Rust: its output on a pipe is judged. For C it is a remark, since stdio buffers there.
    pub is_rust: bool,
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The claim is true.
    Passed,
    /// Part of it is.
    Partial,
    /// It is false.
    Failed,
    /// Its marked section still holds the starter's `todo!`.
    NotStarted,
    /// It cannot be tried, since a check that it needs is lost.
    Blocked,
    /// The runs differ, or the observer lost the program: no marks given, none counted as lost.
    Undecided,
    /// This machine cannot try it: no marks given, none counted as lost.
    Skipped,
}

/// The verdict on one check.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The check.
    #[serde(skip)]
    pub check: Check,
    /// How it ended.
    pub status: Status,
    /// Marks given.
    pub marks: u32,
    /// What should be true, in the kernel's words; set when marks were lost.
    pub expected: Option<String>,
    /// What the kernel said instead; or, for blocked, undecided and skipped checks, the reason.
    pub observed: Option<String>,
    /// What part was lost, or which line was false, and what each cost.
    pub losses: Vec<Loss>,
    /// The moments on which the verdict rests.
    pub evidence: Vec<Evidence>,
    /// What is worth knowing and costs nothing.
    pub remarks: Vec<String>,
    /// The lost checks that keep this one from being tried.
    pub blocked_by: Vec<String>,
    /// How each run alone would have been judged, in the order of the runs.
    pub by_run: Vec<Option<Status>>,
}

/// One reason for which marks were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// What was wrong.
    pub what: String,
    /// Marks it cost; 0 when another loss has paid for it.
    pub marks: u32,
}

/// One moment of a run that a verdict rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Which run, from 1.
    pub run: usize,
    /// Milliseconds since the first exec.
    pub at_ms: u64,
    /// The process, as the observer numbers it.
    pub pid: i32,
    /// The same process as the box and its nested PID namespaces number it, outermost first.
    pub inner_pids: Vec<i32>,
    /// What it did: a call with its decoded arguments and result, or the line it wrote.
    pub what: String,
    /// Its namespaces at that moment.
    pub namespaces: crate::trace::Namespaces,
}

/// Judges `runs` of one submission.
///
/// The verdicts come in the order of the rubric.
pub fn judge(task: Task, rubric: &Rubric, runs: &[Run], style: Style) -> Vec<Verdict> {
    let _ = (task, rubric, runs, style);
    Vec::new()
}
