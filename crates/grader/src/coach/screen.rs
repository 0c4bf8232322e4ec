//! What `grade watch` shows, as text for a terminal of any size: made here, drawn elsewhere.

use crate::class::stored::{StoredCheck, StoredReport};
use crate::escape::drawn;
use crate::judge::Status;
use crate::report::text;
use crate::task::Task;

/// The keys, in the last line.
const KEYS: &str = "h hint  e explain  d diff  n next lesson  q quit";

/// What is known at the moment of drawing.
#[derive(Debug)]
pub struct Screen<'a> {
    /// The task that is watched.
    pub task: Task,
    /// The last report; none before the first.
    pub report: Option<&'a StoredReport>,
    /// What it does now, or how long ago it ended.
    pub state: &'a str,
    /// How many degrees of each hint are shown.
    pub hints: usize,
}

impl Screen<'_> {
    /// Its lines: never more than `height`, none longer than `width`.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let mut lines = vec![self.head(width), String::new()];
        if let Some(report) = self.report {
            lines.extend(report.tests.iter().map(check));
            lines.push(String::new());
            lines.extend(self.to_do(report).iter().flat_map(|text| folded(text, width)));
        }
        // What does not fit are the checks that passed, the first of them first; what is to be done stays.
        let room = height.saturating_sub(2).max(1);
        while lines.len() > room {
            match lines.iter().position(|line| line.starts_with("  ok ")) {
                Some(passed) => drop(lines.remove(passed)),
                None => lines.truncate(room),
            }
        }
        lines.resize(room, String::new());
        lines.push(String::new());
        lines.push(format!("{KEYS}    {}", self.state));
        lines.truncate(height);
        lines.iter().map(|line| drawn(line).chars().take(width).collect()).collect()
    }

    fn head(&self, width: usize) -> String {
        let marks = match self.report {
            Some(report) => format!("{} of {} marks", report.score, report.max_score.unwrap_or_default()),
            None => String::new(),
        };
        let name = self.task.to_string();
        let gap = width.saturating_sub(name.len() + marks.len()).max(1);
        format!("{name}{}{marks}", " ".repeat(gap))
    }

    /// The one thing to do next, in a few lines.
    fn to_do(&self, report: &StoredReport) -> Vec<String> {
        if let Some(why) = &report.error {
            return vec![format!("not graded: {why}")];
        }
        if let Some(error) = &report.build_error {
            return vec!["It does not compile:".to_owned(), error.clone()];
        }
        let Some(check) = first_to_do(report) else {
            return vec!["Everything that is claimed is true.".to_owned()];
        };
        let data = &check.extra_data;
        if data.verdict == Status::NotStarted {
            let lesson = data.lesson.as_deref().unwrap_or_default();
            return vec![format!("Write Lesson {lesson}: then this holds: {}", data.claim)];
        }
        let mut lines = vec![format!("{}: {}", data.id, data.claim)];
        lines.extend(data.expected.iter().map(|text| format!("  expected  {text}")));
        lines.extend(data.observed.iter().map(|text| format!("  seen      {text}")));
        lines.extend(data.reason.iter().map(|text| format!("  {text}")));
        lines.extend(data.hints.iter().take(self.hints).map(|text| format!("  hint      {text}")));
        if self.hints > 0 {
            lines.extend(data.look.iter().map(|text| format!("  look      {text}")));
        }
        lines
    }
}

/// What is wrong comes before what is missing: the next lesson builds on it.
pub fn first_to_do(report: &StoredReport) -> Option<&StoredCheck> {
    let first = |wanted: &[Status]| report.tests.iter().find(|check| wanted.contains(&check.extra_data.verdict));
    first(&[Status::Failed, Status::Partial])
        .or_else(|| first(&[Status::NotStarted]))
        .or_else(|| first(&[Status::Blocked, Status::Undecided, Status::Skipped]))
}

fn check(check: &StoredCheck) -> String {
    let word = match check.extra_data.verdict {
        Status::Passed => "ok",
        Status::Partial => "part",
        Status::Failed => "LOST",
        Status::NotStarted => "todo",
        Status::Blocked => "-",
        Status::Undecided => "?",
        Status::Skipped => "skip",
    };
    let lesson = check.extra_data.lesson.as_deref().unwrap_or_default();
    format!("  {word:<4} {:>2}/{:<2} {lesson:<4} {}", check.score, check.max_score, check.extra_data.claim)
}

/// Broken at blanks where there are some, each line with the margin that the text has.
fn folded(text: &str, width: usize) -> Vec<String> {
    let fold = |line: &str| {
        let margin = line.len() - line.trim_start().len();
        text::folded(&" ".repeat(margin), line.trim_start(), width)
    };
    text.lines().flat_map(|line| fold(line).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[(&str, &str)]) -> StoredReport {
        let check = |(id, verdict): &(&str, &str)| {
            serde_json::json!({ "score": 0, "max_score": 2, "output": "", "extra_data": { "id": id, "verdict": verdict, "lesson": "1.a",
                "claim": format!("{id} holds"), "reason": null, "expected": "uts:[2]", "observed": "uts:[1]\u{1b}[2J",
                "hints": ["a question ".repeat(20)], "look": "lsns", "remarks": [] } })
        };
        let tests: Vec<_> = verdicts.iter().map(check).collect();
        let all = serde_json::json!({ "score": 0, "max_score": 20, "execution_time": 1.0, "tests": tests, "error": null,
            "build_error": null, "extra_data": { "score_range": [0, 0], "final_marks": true } });
        serde_json::from_value(all).unwrap()
    }

    fn lines(report: &StoredReport, width: usize, height: usize) -> Vec<String> {
        Screen { task: Task::Task1, report: Some(report), state: "graded in 1.0 s", hints: 1 }.lines(width, height)
    }

    #[test]
    fn what_is_wrong_comes_before_what_is_missing_and_nothing_acts_on_the_terminal() {
        let text = lines(&report(&[("a", "passed"), ("b", "not-started"), ("c", "failed")]), 80, 24).join("\n");
        assert!(text.contains("\nc: c holds\n  expected  uts:[2]\n  seen      uts:[1]␛[2J\n"), "{text}");
        assert!(!text.contains("Write Lesson"), "{text}");
        let text = lines(&report(&[("a", "passed"), ("b", "not-started")]), 80, 24).join("\n");
        assert!(text.contains("Write Lesson 1.a"), "{text}");
    }

    #[test]
    fn it_fits_any_terminal_and_what_is_to_be_done_stays() {
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("x", "passed"), 40).chain([("y", "failed")]).collect();
        for (width, height) in [(80, 24), (40, 12), (20, 5), (1, 1)] {
            let lines = lines(&report(&many), width, height);
            assert_eq!(lines.len(), height);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            assert!(height < 12 || lines.iter().any(|line| line.starts_with("y: y holds")), "{lines:?}");
        }
    }
}
