//! Whether a program of the zoo got the marks it should, check by check.
//!
//! Two errors are counted apart, since they hurt differently: a *false pass* gives marks for what was not done, a
//! *false loss* takes marks for what was done. A missing verdict is counted apart.

use serde::{Deserialize, Serialize};

use crate::judge::{Status, Verdict};

use super::zoo::Expect;

/// How one program fared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramOutcome {
    /// The program.
    pub name: String,
    /// By check, in the rubric's order; empty when it was not tried.
    pub cells: Vec<MatrixCell>,
    /// What was not as expected, in words.
    pub surprises: Vec<String>,
    /// Why it was not tried here.
    pub skipped: Option<String>,
    /// The mutants of the grader that would have given it other marks.
    pub noticed: Vec<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// One check of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatrixCell {
    /// All marks, as it should be.
    Full,
    /// This many lost, as it should be.
    Lost(u32),
    /// This many marks given that should not be.
    FalsePass(u32),
    /// This many marks lost that should not be.
    FalseLoss(u32),
    /// No verdict.
    Undecided,
    /// The machine cannot try this check.
    Skipped,
}

impl MatrixCell {
    /// Compares the verdict with what was expected.
    pub fn of(verdict: &Verdict, expect: &Expect) -> MatrixCell {
        let (id, marks) = (verdict.check.id.as_str(), verdict.check.marks);
        match verdict.status {
            Status::Undecided => return MatrixCell::Undecided,
            Status::Skipped => return MatrixCell::Skipped,
            Status::Passed | Status::Partial | Status::Failed | Status::NotStarted | Status::Blocked => {}
        }
        let lost = marks.saturating_sub(verdict.marks);
        let wanted = expect.lost.on(id, marks);
        let allowed = wanted.max(expect.may_lose.get(id).copied().unwrap_or(0));
        match lost {
            0 if wanted == 0 => MatrixCell::Full,
            lost if (wanted..=allowed).contains(&lost) => MatrixCell::Lost(lost),
            lost if lost < wanted => MatrixCell::FalsePass(wanted - lost),
            lost => MatrixCell::FalseLoss(lost - allowed),
        }
    }

    /// Whether nothing speaks against the grader here.
    pub fn is_fine(self) -> bool {
        matches!(self, MatrixCell::Full | MatrixCell::Lost(_) | MatrixCell::Skipped)
    }
}

/// Compares all verdicts on one program: the cells, and what was not as expected in words.
pub fn compare(verdicts: &[Verdict], expect: &Expect) -> (Vec<MatrixCell>, Vec<String>) {
    let cells: Vec<MatrixCell> = verdicts.iter().map(|verdict| MatrixCell::of(verdict, expect)).collect();
    let mut surprises: Vec<String> = verdicts
        .iter()
        .zip(&cells)
        .filter(|(_, cell)| !cell.is_fine())
        .map(|(verdict, cell)| in_words(verdict, *cell))
        .collect();
    let remarks: Vec<String> =
        verdicts.iter().flat_map(|verdict| &verdict.remarks).map(|remark| remark.to_lowercase()).collect();
    for wanted in &expect.remarks {
        if !remarks.iter().any(|remark| remark.contains(&wanted.to_lowercase())) {
            surprises.push(format!("no remark speaks of {wanted:?}; the remarks: {remarks:?}"));
        }
    }
    (cells, surprises)
}

/// One unexpected verdict as a sentence.
fn in_words(verdict: &Verdict, cell: MatrixCell) -> String {
    let what = match cell {
        MatrixCell::FalsePass(marks) => format!("{marks} given that should be lost"),
        MatrixCell::FalseLoss(marks) => format!("{marks} lost that should be given"),
        MatrixCell::Undecided | MatrixCell::Skipped | MatrixCell::Full | MatrixCell::Lost(_) => "no verdict".to_owned(),
    };
    let mut said: Vec<String> = verdict.reason.iter().cloned().collect();
    said.extend(verdict.losses.iter().map(|loss| format!("-{} {}: {}", loss.marks, loss.expected, loss.observed)));
    said.extend(verdict.losses.iter().flat_map(|loss| &loss.details).cloned());
    if !verdict.blocked_by.is_empty() {
        said.push(format!("blocked by {}", verdict.blocked_by.join(", ")));
    }
    format!(
        "{}: {what} ({}/{} {:?}: {})",
        verdict.check.id,
        verdict.marks,
        verdict.check.marks,
        verdict.status,
        said.join("; ")
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rubric::Rubric;
    use crate::task::Task;

    fn verdict(status: Status, marks: u32) -> Verdict {
        Verdict {
            check: Rubric::of(Task::Task1).unwrap().find("child2.pid").unwrap().clone(),
            status,
            marks,
            open: 0,
            losses: Vec::new(),
            reason: None,
            remarks: vec!["Sleeps to synchronise".to_owned()],
            blocked_by: Vec::new(),
            by_run: Vec::new(),
        }
    }

    fn expect(rest: &str) -> Expect {
        toml::from_str(&format!("task = 'task1'\nstory = 'a program'\n{rest}")).unwrap()
    }

    #[test]
    fn marks_given_and_lost_are_told_apart() {
        let loses = expect("lost = { 'child2.pid' = 2 }");
        assert_eq!(MatrixCell::of(&verdict(Status::Passed, 3), &expect("")), MatrixCell::Full);
        assert_eq!(MatrixCell::of(&verdict(Status::Partial, 1), &loses), MatrixCell::Lost(2));
        assert_eq!(MatrixCell::of(&verdict(Status::Passed, 3), &loses), MatrixCell::FalsePass(2));
        assert_eq!(MatrixCell::of(&verdict(Status::Partial, 2), &loses), MatrixCell::FalsePass(1));
        assert_eq!(MatrixCell::of(&verdict(Status::Failed, 0), &loses), MatrixCell::FalseLoss(1));
        assert_eq!(MatrixCell::of(&verdict(Status::Blocked, 0), &expect("")), MatrixCell::FalseLoss(3));
    }

    #[test]
    fn no_verdict_is_never_fine_but_for_what_the_machine_cannot_try() {
        let all = expect("lost = 'all'");
        assert!(!MatrixCell::of(&verdict(Status::Undecided, 0), &all).is_fine());
        assert!(MatrixCell::of(&verdict(Status::Skipped, 0), &all).is_fine());
    }

    #[test]
    fn what_may_be_lost_is_fine_either_way() {
        let either = expect("may_lose = { 'child2.pid' = 3 }");
        assert_eq!(MatrixCell::of(&verdict(Status::Passed, 3), &either), MatrixCell::Full);
        assert_eq!(MatrixCell::of(&verdict(Status::Failed, 0), &either), MatrixCell::Lost(3));
    }

    #[test]
    fn a_missing_remark_is_a_surprise() {
        let passed = [verdict(Status::Passed, 3)];
        assert_eq!(compare(&passed, &expect("remarks = ['sleep']")).1, Vec::<String>::new());
        assert_eq!(compare(&passed, &expect("remarks = ['quota']")).1.len(), 1);
    }
}
