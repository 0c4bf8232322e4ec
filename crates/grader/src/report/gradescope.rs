//! Gradescope's `results.json`: the part of the report that the service reads.
//!
//! The score stands at the top as well as at each test, so that hiding a test does not change the total.

use super::NotGraded;
use crate::error::Result;
use crate::grading::Grade;

/// The file's text.
pub(super) fn report(grade: &Grade, hints: usize) -> Result<String> {
    super::json::encoded(&super::json::results(grade, hints))
}

/// The file's text for a submission that was not graded. The service requires a number, so the score is 0; the text says why.
pub(super) fn not_graded(what: &NotGraded<'_>) -> Result<String> {
    super::json::encoded(&super::json::no_results(what))
}
