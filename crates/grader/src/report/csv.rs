//! One row of a class's table: student, task, marks, the most there is, status, reason.
//!
//! The first line names the columns, so that a table of many is the first file and `tail -n +2` of the others. A cell that a
//! spreadsheet would take for a formula begins with an apostrophe: names of files are the student's.

use super::{NotGraded, marks};
use crate::error::{Exit, IntoExit, OrCannot, Result};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::rubric::Rubric;

const COLUMNS: [&str; 6] = ["student", "task", "marks", "max", "status", "reason"];

/// The row of a graded submission.
pub(super) fn report(grade: &Grade) -> Result<String> {
    let (status, reason) = match &grade.build_error {
        Some(error) => ("not-built", error.clone()),
        None if !grade.is_final() => {
            ("not-final", format!("{}; {}", marks(grade.marks(), grade.open(), grade.max_marks()), grade.next()))
        }
        None if grade.marks() < grade.max_marks() => ("final", grade.next()),
        None => ("final", String::new()),
    };
    let (given, max) = (grade.marks().to_string(), grade.max_marks().to_string());
    row([&grade.student, grade.task().id(), &given, &max, status, &reason])
}

/// The row of one that was not graded: no marks, which is not the same as none.
pub(super) fn not_graded(what: &NotGraded<'_>) -> Result<String> {
    let max = Rubric::of(what.task).map_or_else(|_| String::new(), |rubric| rubric.max_marks().to_string());
    let status = match what.error.exit {
        Exit::Usage => "refused",
        Exit::Missing => "missing",
        Exit::Interrupted(_) => "interrupted",
        Exit::CannotRun | Exit::DoesNotBuild | Exit::Broken => "not-run",
    };
    row([&what.student(), what.task.id(), "", &max, status, &what.error.line()])
}

fn row(cells: [&str; 6]) -> Result<String> {
    table(&[COLUMNS, cells].map(|row| row.map(str::to_owned).to_vec()))
}

/// A table as RFC 4180 has it. No cell acts on a terminal, and none is run by a spreadsheet: what begins a formula gets an
/// apostrophe before it.
///
/// # Errors
/// `Exit::Broken` when rows differ in length.
pub fn table(rows: &[Vec<String>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|text| harmless(text))).or_cannot("write", "a table").into_broken()?;
    }
    let bytes = writer.into_inner().map_err(|why| why.to_string()).or_cannot("write", "a table").into_broken()?;
    String::from_utf8(bytes).or_cannot("write", "a table").into_broken()
}

fn harmless(text: &str) -> String {
    let mut text = drawn(text);
    if text.starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::of_every_kind;
    use super::*;

    #[test]
    fn a_row_is_two_lines_and_no_cell_is_a_formula() {
        let csv = report(&of_every_kind()).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "student,task,marks,max,status,reason"));
        assert!(lines[1].starts_with("'=24m␛0001,task1,6,20,not-final,"), "{csv}");
        assert_eq!(table(&[vec!["a \"b\", c".to_owned()]]).unwrap(), "\"a \"\"b\"\", c\"\n");
    }
}
