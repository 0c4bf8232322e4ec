//! Weakened graders (mutation testing): does the zoo notice each?
//!
//! A check that is taken away is a check that always passes. Each is taken away in turn, and the runs that were
//! already observed are judged again: at least one program of the zoo must then get other marks than it should, else
//! that check is not tested by anything. The same is asked of each observer, by judging without its runs.

use std::fmt;

use crate::error::Result;
use crate::judge::{Status, Style, Verdict, judge};
use crate::record::{Observer, Run};
use crate::rubric::Rubric;

use super::outcome::compare;
use super::zoo::Expect;

/// One way in which the grader could be weaker than it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutant {
    /// The check always passes.
    Without(String),
    /// The runs of this observer are not looked at.
    Unwatched(Observer),
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::Without(check) => write!(f, "without {check}"),
            Mutant::Unwatched(Observer::Traced) => write!(f, "without the tracer"),
            Mutant::Unwatched(Observer::Frozen) => write!(f, "without the freezer"),
            Mutant::Unwatched(Observer::Between) => write!(f, "that never looks"),
        }
    }
}

/// All mutants of the grader of one task.
pub fn mutants(rubric: &Rubric) -> Vec<Mutant> {
    let checks = rubric.checks.iter().map(|check| Mutant::Without(check.id.clone()));
    // A tool is watched in one way only, without which nothing would be seen at all.
    let observers = [Observer::Traced, Observer::Frozen].into_iter().filter(|_| !rubric.task.is_tool());
    checks.chain(observers.map(Mutant::Unwatched)).collect()
}

impl Mutant {
    /// Whether a program that is judged as it should be would not be by this mutant.
    ///
    /// # Errors
    /// Whatever the judge refuses.
    pub fn is_noticed(
        &self,
        rubric: &Rubric,
        runs: &[Run],
        style: Style,
        verdicts: &[Verdict],
        expect: &Expect,
    ) -> Result<bool> {
        let judged = match self {
            Mutant::Without(check) => verdicts.iter().map(|verdict| forced(verdict, check)).collect(),
            Mutant::Unwatched(observer) => {
                let rest: Vec<Run> = runs.iter().filter(|run| run.observer != *observer).cloned().collect();
                judge(rubric.task, rubric, &rest, style)
            }
        };
        Ok(!compare(&judged, expect).1.is_empty())
    }
}

/// `verdict` as it were if `check` always passed.
fn forced(verdict: &Verdict, check: &str) -> Verdict {
    let mut verdict = verdict.clone();
    if verdict.check.id == check && verdict.status != Status::Skipped {
        verdict.status = Status::Passed;
        verdict.marks = verdict.check.marks;
    }
    verdict
}
