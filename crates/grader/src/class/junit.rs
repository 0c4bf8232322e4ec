//! `junit.xml`: the whole class for programs that read test results. A suite is a student, a case is a check of a task.
//!
//! As in the report on one task: what lost marks is a failure, what could not be decided is an error, what was not tried is skipped.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::marks::{CellState, Marks, StudentRow, TaskCell};
use super::stored::StoredCheck;
use crate::error::{Error, Result};
use crate::escape::drawn;
use crate::judge::Status;

/// The file's text.
///
/// # Errors
/// `Exit::Broken` when it cannot be encoded.
pub fn junit(marks: &Marks) -> Result<String> {
    let mut report = Report::new("grade class");
    report.set_time(marks.time());
    report.add_test_suites(marks.rows.iter().map(|row| suite(row, marks.max())));
    report.to_string().map_err(|why| Error::broken(format!("junit.xml: {why}")))
}

fn suite(row: &StudentRow, max: u32) -> TestSuite {
    let mut suite = TestSuite::new(drawn(&row.id));
    let seconds = row.tasks.iter().filter_map(|cell| cell.report.as_ref()).map(|report| report.execution_time).sum();
    suite.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    suite.add_property(Property::new("name", drawn(&row.name)));
    suite.add_property(Property::new("marks", format!("{} of {max}", row.total())));
    suite.add_property(Property::new("final", if row.is_final() { "yes" } else { "no" }));
    for remark in row.remarks() {
        suite.add_property(Property::new("remark", drawn(&remark)));
    }
    for cell in &row.tasks {
        suite.add_test_cases(cell.checks().iter().map(|check| case(cell, check)));
        if matches!(cell.state(), CellState::NotBuilt | CellState::NotGraded | CellState::Missing) {
            suite.add_test_case(no_case(row, cell));
        }
    }
    suite
}

/// A case for a task of which there is nothing to tell check by check.
fn no_case(row: &StudentRow, cell: &TaskCell) -> TestCase {
    let kind = match cell.state() {
        CellState::Missing if !row.is_refused => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let mut case = TestCase::new("handed in and built", TestCaseStatus::non_success(kind));
    case.set_classname(cell.task.id());
    case.status.set_message(drawn(row.problem.as_ref().unwrap_or(&cell.why())));
    case
}

fn case(cell: &TaskCell, check: &StoredCheck) -> TestCase {
    let about = &check.extra_data;
    let status = match about.verdict {
        Status::Passed => TestCaseStatus::success(),
        Status::Partial | Status::Failed | Status::NotStarted => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Undecided => TestCaseStatus::non_success(NonSuccessKind::Error),
        Status::Blocked | Status::Skipped => TestCaseStatus::skipped(),
    };
    let mut case = TestCase::new(about.id.as_str(), status);
    case.set_classname(cell.task.id());
    case.add_property(Property::new("marks", format!("{} of {}", check.score, check.max_score)));
    if about.verdict != Status::Passed {
        case.status.set_message(drawn(check.output.lines().next().unwrap_or_default()));
    }
    case
}
