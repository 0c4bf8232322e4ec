//! The confusion matrix as text: a row for each program, a column for each check.

use std::fmt::Write as _;

use crate::rubric::Rubric;

use super::mutant::Mutant;
use super::outcome::{Cell, Outcome};

/// The matrix of one task. `✓` all marks, `-n` n lost, both as expected; `✓!` and `-n!` are marks given and lost wrongly,
/// `?` is no verdict, `·` cannot be tried on this machine.
pub fn matrix(rubric: &Rubric, outcomes: &[&Outcome]) -> String {
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

/// Which program would notice which mutant of the grader.
pub fn noticed(mutants: &[Mutant], outcomes: &[&Outcome]) -> String {
    let mut text = String::new();
    for mutant in mutants {
        let name = mutant.to_string();
        let by: Vec<&str> = outcomes.iter().filter(|o| o.noticed.contains(&name)).map(|o| o.name.as_str()).collect();
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
fn shown(cell: Cell, marks: u32) -> String {
    match cell {
        Cell::Full => "✓ ".to_owned(),
        Cell::Lost(lost) => format!("-{lost} "),
        Cell::FalsePass(given) if given == marks => "✓!".to_owned(),
        Cell::FalsePass(given) => format!("+{given}!"),
        Cell::FalseLoss(lost) => format!("-{lost}!"),
        Cell::Undecided => "? ".to_owned(),
        Cell::Skipped => "· ".to_owned(),
    }
}

/// Marks that the check took, where that is known from the cell.
fn lost(cell: Cell, marks: u32) -> u32 {
    match cell {
        Cell::Lost(lost) | Cell::FalseLoss(lost) => lost.min(marks),
        Cell::Full | Cell::FalsePass(_) | Cell::Undecided | Cell::Skipped => 0,
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
        let mut cells = vec![Cell::Full; rubric.checks.len()];
        cells[0] = Cell::Lost(2);
        cells[1] = Cell::FalsePass(2);
        cells[2] = Cell::Undecided;
        let outcome = Outcome {
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
