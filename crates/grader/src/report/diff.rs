//! The output beside the reference, as a unified diff: once as it is judged, once as it was written.
//!
//! Judged: a line that is right is shown as the reference has it, with the names of its blanks, so only what costs
//! marks or attention differs; the order of directory entries is not seen. Written: the reference with its blanks
//! filled as the output has them, against the output with every control character drawn.
//!
//! Look: `grade task1 --diff`.

use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::history::History;
use crate::record::{Run, StdoutKind};
use crate::report::text::wrapped;
use crate::rubric::align::{Item, Row};

const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();

/// Both diffs of every run.
pub fn against_reference(grade: &Grade) -> String {
    let mut text = String::new();
    if let Some(error) = &grade.build_error {
        text += &format!("does not build: {}\n", drawn(error));
    }
    for (run, nth) in grade.runs.iter().zip(1..) {
        let on = match run.stdout_kind {
            StdoutKind::Pty => "a terminal",
            StdoutKind::Pipe => "a pipe",
        };
        let history = History::new(run, nth, &grade.rubric);
        let false_lines = crate::judge::false_lines(&history, grade.style);
        let (wanted, got) = judged(&history, &false_lines);
        text += &titled(&format!("run {nth}, on {on}, as it is judged"), &wanted, &got);
        let (wanted, got) = written(&history, run);
        text += &titled(&format!("run {nth}, on {on}, as it was written"), &wanted, &got);
    }
    text += "\nthe blanks\n";
    for (label, blank) in &grade.rubric.reference.blanks.by_label {
        text += &wrapped(&format!("  {:<15} ", format!("<{label}>")), &blank.about);
    }
    text
}

/// One diff with its title; one line when there is no difference.
fn titled(title: &str, wanted: &str, got: &str) -> String {
    match unified(wanted, got) {
        None => format!("{title}: no difference\n"),
        Some(diff) => format!("{title}\n{diff}"),
    }
}

/// A coloured unified diff; none when the texts are equal.
pub fn unified(wanted: &str, got: &str) -> Option<String> {
    if wanted == got {
        return None;
    }
    let mut text = format!("{REMOVED}--- reference{REMOVED:#}\n{ADDED}+++ output{ADDED:#}\n");
    for hunk in TextDiff::from_lines(wanted, got).unified_diff().iter_hunks() {
        text += &format!("{PLACE}{}{PLACE:#}\n", hunk.header());
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            text += &match change.tag() {
                ChangeTag::Delete => format!("{REMOVED}-{line}{REMOVED:#}\n"),
                ChangeTag::Insert => format!("{ADDED}+{line}{ADDED:#}\n"),
                ChangeTag::Equal => format!(" {line}\n"),
            };
            if change.missing_newline() {
                text += "\\ no end of line here\n";
            }
        }
    }
    Some(text)
}

/// The reference and the output as they are judged.
fn judged(history: &History<'_>, false_lines: &[(usize, String)]) -> (String, String) {
    let (mut wanted, mut got) = (String::new(), String::new());
    for item in &history.items {
        wanted += &format!("{item}\n");
    }
    let mut region = None;
    for row in &history.rows {
        match row {
            Row::Match { item, line, .. } => {
                let (Some(known), Some(written)) = (history.items.get(*item), history.lines.get(*line)) else {
                    continue;
                };
                match false_lines.iter().find(|(number, _)| *number == written.number) {
                    Some(_) => got += &format!("{}\n", drawn(&written.text)),
                    // All entries of one directory are one line of the reference.
                    None if matches!(known, Item::Entries(_)) && region == Some(*item) => {}
                    None => got += &format!("{known}\n"),
                }
                region = matches!(known, Item::Entries(_)).then_some(*item);
            }
            Row::Malformed { line, .. } | Row::Extra { line } => {
                region = None;
                got += &history.lines.get(*line).map(|line| format!("{}\n", drawn(&line.text))).unwrap_or_default();
            }
            Row::Missing { .. } => {}
        }
    }
    for (number, fact) in false_lines {
        let line = history.rows.iter().find_map(|row| match row {
            Row::Match { item, line, .. } if history.lines.get(*line).is_some_and(|l| l.number == *number) => {
                history.items.get(*item)
            }
            _ => None,
        });
        if let Some(item) = line {
            wanted = wanted.replacen(&format!("{item}\n"), &format!("{fact}\n"), 1);
        }
    }
    (wanted, got)
}

/// The reference with what the output has in its blanks, and the output with its control characters drawn.
fn written(history: &History<'_>, run: &Run) -> (String, String) {
    let mut wanted = String::new();
    for row in &history.rows {
        match row {
            Row::Match { item, blanks, .. } => {
                let Some(item) = history.items.get(*item) else { continue };
                let mut text = item.to_string();
                for (label, value) in blanks {
                    // The unit of a duration is a part of what was read.
                    let blank = format!("<{label}>");
                    text = match text.split_once(&blank) {
                        Some((before, _)) if value.contains(' ') => format!("{before}{value}"),
                        _ => text.replacen(&blank, value, 1),
                    };
                }
                wanted += &format!("{}\n", drawn(&text));
            }
            Row::Malformed { item, .. } | Row::Missing { item } => {
                wanted += &history.items.get(*item).map(|item| format!("{item}\n")).unwrap_or_default();
            }
            Row::Extra { .. } => {}
        }
    }
    let mut got = String::new();
    for line in run.output.stdout.split_inclusive('\n') {
        let text = line.strip_suffix('\n');
        got += &drawn(text.unwrap_or(line));
        if text.is_some() {
            got.push('\n');
        }
    }
    (wanted, got)
}
