//! JUnit's XML, as CI servers read it: a suite is a task, a case is a check.
//!
//! The form has no marks and three ways not to pass: a lost check is a *failure*, and so is one whose section is not written;
//! an undecided one is an *error*; one that was not tried or cannot run here is *skipped*. A submission that does not build
//! has one case more, an *error*: what was only skipped would be green. The marks stand in properties.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::{NotGraded, marks, plain};
use crate::error::{Error, Result};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::{Status, Verdict};
use crate::task::Task;

/// The file's text.
pub(super) fn report(grade: &Grade, hints: usize) -> Result<String> {
    let mut suite = TestSuite::new(grade.task().id());
    suite.set_time(grade.took);
    suite.add_property(Property::new("marks", marks(grade.marks(), grade.open(), grade.max_marks())));
    suite.add_property(Property::new("submission", drawn(&grade.submission)));
    suite.add_property(Property::new("seed", format!("{:x}", grade.seed)));
    suite.add_property(Property::new("student", drawn(&grade.student)));
    for note in &grade.notes {
        suite.add_property(Property::new("note", drawn(note)));
    }
    if let Some(why) = &grade.build_error {
        suite.add_test_case(error(grade.task(), "build", why));
    }
    for verdict in &grade.verdicts {
        suite.add_test_case(case(grade, verdict, hints));
    }
    let mut report = Report::new("grade");
    report.set_time(grade.took);
    report.add_test_suite(suite);
    report.to_string().map_err(|e| Error::broken(format!("the JUnit report: {e}")))
}

/// The file's text for a submission that was not graded.
pub(super) fn not_graded(what: &NotGraded<'_>) -> Result<String> {
    let mut suite = TestSuite::new(what.task.id());
    suite.add_property(Property::new("submission", drawn(&what.submission())));
    suite.add_property(Property::new("student", drawn(&what.student())));
    suite.add_test_case(error(what.task, "grade", &what.error.line()));
    let mut report = Report::new("grade");
    report.add_test_suite(suite);
    report.to_string().map_err(|e| Error::broken(format!("the JUnit report: {e}")))
}

/// A case that says why there are no cases for the checks.
fn error(task: Task, name: &str, why: &str) -> TestCase {
    let mut case = TestCase::new(name, TestCaseStatus::non_success(NonSuccessKind::Error));
    case.set_classname(task.id());
    case.status.set_message(drawn(why));
    case
}

fn case(grade: &Grade, verdict: &Verdict, hints: usize) -> TestCase {
    let status = match verdict.status {
        Status::Passed => TestCaseStatus::success(),
        Status::Partial | Status::Failed | Status::NotStarted => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Undecided => TestCaseStatus::non_success(NonSuccessKind::Error),
        Status::Blocked | Status::Skipped => TestCaseStatus::skipped(),
    };
    let mut case = TestCase::new(verdict.check.id.as_str(), status);
    case.set_classname(grade.task().id());
    let text = plain(verdict, hints);
    if verdict.status != Status::Passed {
        case.status.set_message(text.lines().next().unwrap_or_default().to_owned());
        case.status.set_description(text);
    }
    case.add_property(Property::new("claim", verdict.check.claim.as_str()));
    case.add_property(Property::new("marks", marks(verdict.marks, verdict.open, verdict.check.marks)));
    for evidence in verdict.losses.iter().flat_map(|loss| &loss.evidence) {
        let told = format!("run {}, {} ms, pid {}: {}", evidence.run, evidence.at_ms, evidence.pid, evidence.what);
        case.add_property(Property::new("evidence", drawn(&told)));
    }
    case
}

#[cfg(test)]
mod tests {
    use super::super::tests::of_every_kind;
    use super::*;

    #[test]
    fn a_reader_of_junit_finds_each_check_with_its_outcome() {
        let xml = report(&of_every_kind(), 1).unwrap();
        let read = Report::deserialize_from_str(&xml).unwrap();
        let suite = &read.test_suites[0];
        assert_eq!((suite.tests, suite.failures, suite.errors, suite.disabled), (9, 3, 1, 2));
        let names: Vec<&str> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names[..2], ["child1.uts", "child1.pid"]);
    }
}
