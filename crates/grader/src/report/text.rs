//! The report for people: the verdict first, then marks, check and claim; more only where something was lost.

use anstyle::{AnsiColor, Style};

use super::{marks, reason};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::{Status, Verdict};

/// No line is longer.
const WIDTH: usize = 100;

/// Most refusals of the box that are shown.
const MOST_REFUSED: usize = 8;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const HALF: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// The whole report; `hints` is how many degrees of each hint are shown.
pub fn report(grade: &Grade, hints: usize) -> String {
    let mut text = head(grade);
    for note in &grade.notes {
        text += &wrapped("  note    ", note);
    }
    text.push('\n');
    if let Some(error) = &grade.build_error {
        text += &wrapped("  does not build   ", error);
        text.push('\n');
    }
    for verdict in &grade.verdicts {
        text += &check(grade, verdict, hints);
    }
    text.push('\n');
    text += &tail(grade);
    text
}

fn head(grade: &Grade) -> String {
    let runs = match grade.runs.len() {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    let submission = drawn(&grade.submission);
    format!("{}, {} · {submission} · seed {:x} · {runs}\n", grade.task(), grade.rubric.title, grade.seed)
}

/// The lines of one check.
fn check(grade: &Grade, verdict: &Verdict, hints: usize) -> String {
    let (word, style) = match verdict.status {
        Status::Passed => ("ok", GOOD),
        Status::Partial => ("part", HALF),
        Status::Failed => ("LOST", BAD),
        Status::NotStarted => ("todo", HALF),
        Status::Blocked => ("-", QUIET),
        Status::Undecided => ("?", HALF),
        Status::Skipped => ("skip", QUIET),
    };
    let given = match verdict.open {
        0 => format!("{}/{}", verdict.marks, verdict.check.marks),
        open => format!("{}-{}/{}", verdict.marks, verdict.marks + open, verdict.check.marks),
    };
    let id = grade.rubric.checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let head = format!("  {word:<4} {given:>5}  {:<id$}  ", verdict.check.id);
    let why = reason(verdict);
    let said = if why.is_empty() { verdict.check.claim.clone() } else { why };
    let mut text = wrapped(&head, &said).replacen(word, &format!("{style}{word}{style:#}"), 1);
    for loss in &verdict.losses {
        let cost = if verdict.check.points.is_empty() { String::new() } else { format!("  (-{})", loss.marks) };
        text += &wrapped(&label("expected"), &loss.expected);
        let kernel = if loss.positive { "kernel" } else { "seen" };
        text += &wrapped(&label(kernel), &format!("{}{cost}", loss.observed));
        for detail in &loss.details {
            text += &wrapped(&label(""), detail);
        }
    }
    if verdict.lost() > 0 && !matches!(verdict.status, Status::Blocked | Status::NotStarted) {
        for (nth, hint) in verdict.check.hints.iter().take(hints).enumerate() {
            text += &wrapped(&label(if nth == 0 { "hint" } else { "" }), hint);
        }
        if hints > 0 {
            if let Some(look) = &verdict.check.look {
                text += &wrapped(&label("look"), look);
            }
        }
    }
    for remark in &verdict.remarks {
        text += &wrapped(&label("remark"), &format!("{remark} (costs nothing)"));
    }
    text
}

/// The margin of a line below a check.
fn label(word: &str) -> String {
    format!("{:13}{word:<10}", "")
}

fn tail(grade: &Grade) -> String {
    let given = grade.verdicts.iter().filter(|verdict| verdict.marks > 0).count();
    let count = grade.verdicts.len();
    let mut text = format!(
        "  {} marks · {:.1} s · {given} of {count} checks gave something\n",
        marks(grade.marks(), grade.open(), grade.max_marks()),
        grade.took.as_secs_f64(),
    );
    for left in grade.not_clean() {
        text += &wrapped("  not clean: ", &format!("the grader could not take away {left}; these marks are not final"));
    }
    for kept in grade.runs.iter().filter_map(|run| run.kept.as_ref()) {
        text += &format!("  kept: {}\n", drawn(&kept.display().to_string()));
    }
    let refused: Vec<&str> = grade.refused().into_iter().collect();
    if let Some(first) = refused.get(..refused.len().min(MOST_REFUSED)).filter(|first| !first.is_empty()) {
        let more = match refused.len() - first.len() {
            0 => String::new(),
            more => format!(", and {more} more in the JSON report"),
        };
        text += &wrapped("  refused: ", &format!("{}{more}; the box keeps these from its machine", first.join("; ")));
    }
    // In one line, to be copied.
    text += &format!("  next: {}\n", drawn(&grade.next()));
    text
}

/// `head` and then `text`, broken at blanks so that no line is too long and all begin where the first text begins.
/// Control characters of `text` are drawn.
pub fn wrapped(head: &str, text: &str) -> String {
    folded(head, text, width())
}

/// The terminal's columns where stdout is one, but never more than [`WIDTH`].
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(WIDTH, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns.min(WIDTH) }
}

/// The same for lines of `width` columns.
pub fn folded(head: &str, text: &str, width: usize) -> String {
    let margin = head.chars().count();
    let room = width.saturating_sub(margin).max(20);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in drawn(text).split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() || !line.is_empty() {
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= room {
                if gap > 0 {
                    line.push(' ');
                }
                line.extend(word.drain(..));
                break;
            }
            if used == 0 {
                // Longer than a line: cut where the line ends.
                line.extend(word.drain(..room));
            }
            lines.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    let mut whole = String::new();
    for (nth, line) in lines.iter().enumerate() {
        if nth == 0 {
            whole += head;
        } else {
            whole += &" ".repeat(margin);
        }
        whole += line;
        whole.truncate(whole.trim_end_matches(' ').len());
        whole.push('\n');
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::super::tests::of_every_kind;
    use super::*;

    #[test]
    fn a_passed_check_is_one_line_and_a_lost_one_says_what_the_kernel_said() {
        let text = anstream::adapter::strip_str(&report(&of_every_kind(), 1)).to_string();
        let line = |id: &str| text.lines().find(|line| line.split_whitespace().nth(2) == Some(id)).unwrap().to_owned();
        assert_eq!(line("child1.uts"), "  ok     2/2  child1.uts    child 1 was born in a UTS namespace of its own");
        assert_eq!(line("child2.pid"), "  -      0/3  child2.pid    not tried: needs child1.pid");
        assert!(line("child2.uts").starts_with("  ?    0-3/3  child2.uts    not graded: "));
        assert!(
            text.contains("\n             expected  uts:[1] & <nothing> else\n             kernel    ␛[2Juts:[2]"),
            "{text}"
        );
        assert!(text.contains("             hint      Ask of each kind of namespace"));
        assert_eq!(text.matches("             look ").count(), 2);
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns_and_the_last_says_what_to_do() {
        let text = anstream::adapter::strip_str(&report(&of_every_kind(), 3)).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        // What is wrong comes before what is missing.
        let next = "  next: start with child1.name: sudo target/release/grade task1 --explain child1.name";
        assert_eq!(text.lines().last(), Some(next));
        let mut only_missing = of_every_kind();
        only_missing.verdicts.retain(|v| !matches!(v.status, Status::Failed | Status::Partial));
        only_missing.verdicts[1].check.place = Some("task1-namespaces/src/main.rs:62".to_owned());
        let text = report(&only_missing, 1);
        assert_eq!(text.lines().last(), Some("  next: write Lesson 1.a in task1-namespaces/src/main.rs:62"));
        assert_eq!(wrapped("- ", &"x".repeat(250)).lines().count(), 3);
    }

    #[test]
    fn without_hints_there_is_no_hint() {
        assert!(!report(&of_every_kind(), 0).contains("hint"));
    }
}
