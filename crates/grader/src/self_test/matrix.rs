//! The confusion matrix as text: a row for each program, a column for each check.

use std::fmt::Write as _;

use crate::rubric::Rubric;

use super::mutant::Mutant;
use super::outcome::{MatrixCell, ProgramOutcome};

/// The matrix of one task. `✓` all marks, `-n` n lost, both as expected; `✓!` and `-n!` are marks given and lost wrongly,
/// `?` is no verdict, `·` cannot be tried on this machine.
pub fn matrix(rubric: &Rubric, outcomes: &[&ProgramOutcome]) -> String {
    let mut text = format!("{}, {}\n", rubric.task, rubric.title);
    for (nth, check) in rubric.checks.iter().enumerate() {
        let _ = writeln!(text, "  {:>2}  {:<15} {}  {}", nth + 1, check.id, check.marks, check.claim);
    }
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max().unwrap_or(0);
    let _ = write!(text, "\n  {:width$}", "");
    for nth in 1..=rubric.checks.len() {
        let _ = write!(text, " {nth:>3} ");
    }
    text.push_str("  lost\n");
    for outcome in outcomes {
        let _ = write!(text, "  {:width$}", outcome.name);
        if let Some(why) = &outcome.skipped {
            let _ = writeln!(text, "  not tried here: {why}");
            continue;
        }
        for (cell, check) in outcome.cells.iter().zip(&rubric.checks) {
            let _ = write!(text, " {:>4}", shown(*cell, check.marks));
        }
        let lost: u32 = outcome.cells.iter().zip(&rubric.checks).map(|(cell, check)| lost(*cell, check.marks)).sum();
        let verdict = if outcome.surprises.is_empty() { "" } else { "  <- not as expected" };
        let _ = writeln!(text, "  {lost:>4}{verdict}");
    }
    text
}

/// Which program would notice which mutant of the grader, those first that lose least: they test it most closely.
pub fn noticed(mutants: &[Mutant], outcomes: &[&ProgramOutcome]) -> String {
    let mut text = String::new();
    for mutant in mutants {
        let name = mutant.to_string();
        let mut by: Vec<&ProgramOutcome> = outcomes.iter().copied().filter(|o| o.noticed.contains(&name)).collect();
        by.sort_by_key(|outcome| outcome.cells.iter().filter(|cell| **cell != MatrixCell::Full).count());
        let by: Vec<&str> = by.into_iter().map(|outcome| outcome.name.as_str()).collect();
        let shown = match by.as_slice() {
            [] => "NOBODY".to_owned(),
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second}, {third} and {} more", rest.len())
            }
            few => few.join(", "),
        };
        let _ = writeln!(text, "  {name:<24} {:>3}  {shown}", by.len());
    }
    text
}

/// One cell, at most four characters wide.
fn shown(cell: MatrixCell, marks: u32) -> String {
    match cell {
        MatrixCell::Full => "✓ ".to_owned(),
        MatrixCell::Lost(lost) => format!("-{lost} "),
        MatrixCell::FalsePass(given) if given == marks => "✓!".to_owned(),
        MatrixCell::FalsePass(given) => format!("+{given}!"),
        MatrixCell::FalseLoss(lost) => format!("-{lost}!"),
        MatrixCell::Undecided => "? ".to_owned(),
        MatrixCell::Skipped => "· ".to_owned(),
    }
}

/// Marks that the check took, where that is known from the cell.
fn lost(cell: MatrixCell, marks: u32) -> u32 {
    match cell {
        MatrixCell::Lost(lost) | MatrixCell::FalseLoss(lost) => lost.min(marks),
        MatrixCell::Full | MatrixCell::FalsePass(_) | MatrixCell::Undecided | MatrixCell::Skipped => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::Task;

    #[test]
    fn a_row_shows_each_check_and_what_went_wrong() {
        let rubric = Rubric::of(Task::Task1).unwrap();
        let mut cells = vec![MatrixCell::Full; rubric.checks.len()];
        cells[0] = MatrixCell::Lost(2);
        cells[1] = MatrixCell::FalsePass(2);
        cells[2] = MatrixCell::Undecided;
        let outcome = ProgramOutcome {
            name: "wrong/example".to_owned(),
            cells,
            surprises: vec!["child1.pid: 2 given that should be lost".to_owned()],
            skipped: None,
            noticed: Vec::new(),
            seconds: 0.5,
        };
        let text = matrix(&rubric, &[&outcome]);
        let row = text.lines().last().unwrap();
        assert_eq!(row, "  wrong/example  -2    ✓!   ?    ✓    ✓    ✓    ✓    ✓    ✓      2  <- not as expected");
    }

    #[test]
    fn a_mutant_that_nobody_notices_stands_out() {
        let text = noticed(&[Mutant::Without("child1.uts".to_owned())], &[]);
        assert_eq!(text, "  without child1.uts         0  NOBODY\n");
    }
}
