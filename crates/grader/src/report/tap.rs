//! Test Anything Protocol, version 14.
//!
//! A lost check is `not ok` with a YAML block, an unwritten section is a TODO, what cannot run here is a SKIP.

use super::{marks, reason};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::{Status, Verdict};

/// The stream's text.
pub(super) fn report(grade: &Grade, hints: usize) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", grade.verdicts.len());
    if let Some(error) = &grade.build_error {
        text += &format!("# does not build: {}\n", drawn(error));
    }
    for note in &grade.notes {
        text += &format!("# note: {}\n", drawn(note));
    }
    for (verdict, nth) in grade.verdicts.iter().zip(1..) {
        text += &test(verdict, nth, hints);
    }
    text += &format!("# {} marks\n", marks(grade.marks(), grade.open(), grade.max_marks()));
    text
}

/// What is written when nothing could be tried.
pub(super) fn bail_out(why: &str) -> String {
    format!("TAP version 14\nBail out! {}\n", drawn(why))
}

fn test(verdict: &Verdict, nth: usize, hints: usize) -> String {
    let name = escaped(&format!("{}: {}", verdict.check.id, verdict.check.claim));
    let why = escaped(&reason(verdict));
    let (word, directive) = match verdict.status {
        Status::Passed => ("ok", String::new()),
        Status::Skipped => ("ok", format!(" # SKIP {why}")),
        Status::NotStarted => ("not ok", format!(" # TODO {why}")),
        Status::Partial | Status::Failed | Status::Blocked | Status::Undecided => ("not ok", String::new()),
    };
    let mut text = format!("{word} {nth} - {name}{directive}\n");
    if verdict.status == Status::Passed && verdict.remarks.is_empty() {
        return text;
    }
    text += "  ---\n";
    let mut field = |name: &str, value: &str| text += &format!("  {name}: {}\n", quoted(value));
    field("marks", &marks(verdict.marks, verdict.open, verdict.check.marks));
    if !reason(verdict).is_empty() {
        field("reason", &reason(verdict));
    }
    if let Some(loss) = verdict.losses.first() {
        field("expected", &loss.expected);
        field("observed", &loss.observed);
    }
    if verdict.lost() > 0 {
        if let Some(shown) = verdict.check.hints.get(..hints.min(verdict.check.hints.len())).filter(|it| !it.is_empty())
        {
            field("hint", &shown.join(" "));
        }
    }
    if !verdict.remarks.is_empty() {
        field("remarks", &verdict.remarks.join("; "));
    }
    text += "  ...\n";
    text
}

/// A description: `#` would begin a directive, a line end a new line.
fn escaped(text: &str) -> String {
    drawn(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// A value as a JSON string, which YAML reads as well.
fn quoted(text: &str) -> String {
    serde_json::Value::String(drawn(text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::of_every_kind;
    use super::*;

    #[test]
    fn there_is_one_numbered_line_for_each_check_and_the_directives_are_ours() {
        let text = report(&of_every_kind(), 1);
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
        assert!(text.starts_with("TAP version 14\n1..9\n"));
        assert_eq!(lines.len(), 9);
        assert!(lines[0].starts_with("ok 1 - child1.uts: "));
        assert!(lines[1].starts_with("not ok 2 - child1.pid: ") && lines[1].contains(" # TODO not started"));
        assert!(lines[6].starts_with("ok 7 - output: ") && lines[6].contains(" # SKIP not graded"));
        assert_eq!(lines.iter().filter(|line| line.contains(" # ")).count(), 2);
        assert_eq!(text.matches("  ---\n").count(), text.matches("  ...\n").count());
    }
}
