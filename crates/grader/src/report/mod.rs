//! Reports: from verdicts to texts for people and for programs.
//!
//! Every format says the same: the totals are equal in all of them, and each keeps the marks that are not decided apart
//! from those that are lost, as far as it has words for that. What a submission wrote is hostile in each: no control
//! character of it reaches a terminal, and each format's own escaping is done by the code that knows the format.

pub mod csv;
pub mod diff;
pub mod explain;
mod gradescope;
mod json;
mod junit;
mod tap;
pub mod text;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::{Status, Verdict};
use crate::submission;
use crate::task::Task;

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// Everything, for programs.
    Json,
    /// What Gradescope reads as `results.json`.
    Gradescope,
    /// JUnit's XML as CI servers read it.
    Junit,
    /// Test Anything Protocol 14.
    Tap,
    /// A row of a class's table, below the names of its columns.
    Csv,
}

/// A submission that got no verdict, and why. It gets a report as well, so that a class's table has no holes.
#[derive(Debug)]
pub struct NotGraded<'a> {
    /// The task.
    pub task: Task,
    /// What was handed in; none is the workspace that holds the current directory.
    pub submission: Option<&'a Path>,
    /// Why there is no verdict.
    pub error: &'a Error,
}

impl NotGraded<'_> {
    /// The student's roll number, as far as the path has it.
    fn student(&self) -> String {
        self.submission.map_or_else(String::new, submission::student)
    }

    /// Its path.
    fn submission(&self) -> String {
        self.submission.map_or_else(String::new, |path| path.display().to_string())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "gradescope" => Ok(Format::Gradescope),
            "junit" => Ok(Format::Junit),
            "tap" => Ok(Format::Tap),
            "csv" => Ok(Format::Csv),
            _ => Err("a format is text, json, gradescope, junit, tap or csv".to_owned()),
        }
    }
}

impl Format {
    /// The report on `grade` in this format; `hints` is how many degrees of hints it shows.
    ///
    /// # Errors
    /// `Exit::Broken` when it cannot be encoded.
    pub fn render(self, grade: &Grade, hints: usize) -> Result<String> {
        match self {
            Format::Text => Ok(text::report(grade, hints)),
            Format::Json => json::report(grade, hints),
            Format::Gradescope => gradescope::report(grade, hints),
            Format::Junit => junit::report(grade, hints),
            Format::Tap => Ok(tap::report(grade, hints)),
            Format::Csv => csv::report(grade),
        }
    }

    /// The report on a submission that was not graded.
    ///
    /// # Errors
    /// `Exit::Broken` when it cannot be encoded.
    pub fn render_not_graded(self, what: &NotGraded<'_>) -> Result<String> {
        match self {
            Format::Text => Ok(format!("{}: not graded: {}\n", what.task, drawn(&what.error.line()))),
            Format::Json => json::not_graded(what),
            Format::Gradescope => gradescope::not_graded(what),
            Format::Junit => junit::not_graded(what),
            Format::Tap => Ok(tap::bail_out(&what.error.line())),
            Format::Csv => csv::not_graded(what),
        }
    }
}

/// Writes a report to a file, or to stdout: styled to a terminal, plain to anything else.
///
/// # Errors
/// `Exit::Usage` with the file and the errno, `Exit::CannotRun` for stdout.
pub fn write(file: Option<&Path>, text: &str) -> Result<()> {
    match file {
        Some(path) => {
            fs::write(path, anstream::adapter::strip_str(text).to_string()).or_cannot("write", path).into_usage()
        }
        None => match anstream::stdout().write_all(text.as_bytes()) {
            // A closed reader (EPIPE), as head(1) leaves behind, is not an error.
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).or_cannot("write", "to stdout"),
            _ => Ok(()),
        },
    }
}

/// How many marks were had: `3 of 4`, or `16-20 of 20` when some are not decided.
fn marks(given: u32, open: u32, max: u32) -> String {
    match open {
        0 => format!("{given} of {max}"),
        _ => format!("{given}-{} of {max}", given + open),
    }
}

/// Why a check has no verdict of its own, or an empty text.
fn reason(verdict: &Verdict) -> String {
    let why = verdict.reason.as_deref();
    match verdict.status {
        Status::Blocked if !verdict.blocked_by.is_empty() => {
            format!("not tried: needs {}", verdict.blocked_by.join(", "))
        }
        Status::Blocked => format!("not tried: {}", why.unwrap_or("it needs another check")),
        Status::NotStarted => format!("not started: {}", why.unwrap_or("its section is not written yet")),
        Status::Undecided => format!("not graded: {}", why.unwrap_or("the runs differ")),
        Status::Skipped => format!("not graded: {}", why.unwrap_or("it cannot run here")),
        Status::Passed | Status::Partial | Status::Failed => String::new(),
    }
}

/// The same check in plain lines, for formats that hold one text for each: what was lost, why, what it cost, and so many
/// degrees of hints.
fn plain(verdict: &Verdict, hints: usize) -> String {
    let mut lines = Vec::new();
    let why = reason(verdict);
    if !why.is_empty() {
        lines.push(why);
    }
    for loss in &verdict.losses {
        lines.push(format!("expected: {}", loss.expected));
        lines.push(format!("kernel: {} (-{})", loss.observed, loss.marks));
        lines.extend(loss.details.iter().map(|detail| format!("  {detail}")));
    }
    if verdict.lost() > 0 {
        lines.extend(verdict.check.hints.iter().take(hints).map(|hint| format!("hint: {hint}")));
    }
    lines.extend(verdict.remarks.iter().map(|remark| format!("remark: {remark}")));
    drawn(&lines.join("\u{0}")).replace('\u{2400}', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{self, Style};
    use crate::record::Run;
    use crate::rubric::Rubric;

    const ALL: [Format; 6] = [Format::Text, Format::Json, Format::Gradescope, Format::Junit, Format::Tap, Format::Csv];

    /// A grade in which every status stands once, and whose texts hold what no format may pass on.
    pub(super) fn of_every_kind() -> Grade {
        let rubric = Rubric::of(Task::Task1).unwrap();
        let style = Style { is_rust: true };
        let mut verdicts = judge::judge(Task::Task1, &rubric, &[Run::default()], style);
        let statuses = [
            (Status::Passed, 2, 0),
            (Status::NotStarted, 0, 0),
            (Status::Partial, 1, 0),
            (Status::Blocked, 0, 0),
            (Status::Undecided, 0, 3),
            (Status::Failed, 0, 0),
            (Status::Skipped, 0, 2),
            (Status::Passed, 2, 0),
            (Status::Passed, 1, 0),
        ];
        for (verdict, (status, marks, open)) in verdicts.iter_mut().zip(statuses) {
            (verdict.status, verdict.marks, verdict.open) = (status, marks, open);
            verdict.losses.clear();
            verdict.blocked_by.clear();
            verdict.reason = None;
            if matches!(status, Status::Failed | Status::Partial) {
                verdict.losses.push(judge::Loss {
                    part: String::new(),
                    marks: verdict.check.marks - marks,
                    expected: "uts:[1] & <nothing> else".to_owned(),
                    observed: "\u{1b}[2Juts:[2] \"]]>\" \u{9b}31m # SKIP\nok 99".to_owned(),
                    positive: true,
                    details: vec!["line 5   - a   + \u{1b}]0;b\u{7}".to_owned()],
                    evidence: vec![judge::Evidence {
                        run: 1,
                        what: "setns(\u{1b}) = 0".to_owned(),
                        ..Default::default()
                    }],
                });
            }
        }
        verdicts[3].blocked_by = vec!["child1.pid".to_owned()];
        Grade {
            rubric,
            submission: "~/a<b> & \u{1b}[1mc".to_owned(),
            student: "=24m\u{1b}0001".to_owned(),
            notes: vec!["unpacked \u{1b}[2Jx.zip".to_owned()],
            style,
            seed: 0x7f3a,
            runs: Vec::new(),
            verdicts,
            build_error: None,
            started: std::time::SystemTime::UNIX_EPOCH,
            took: std::time::Duration::from_millis(1900),
            again: "sudo target/release/grade task1".to_owned(),
        }
    }

    #[test]
    fn the_totals_are_equal_in_all_formats() {
        let grade = of_every_kind();
        assert_eq!((grade.marks(), grade.open(), grade.max_marks()), (6, 5, 20));
        let render = |format: Format| format.render(&grade, 1).unwrap();
        assert!(render(Format::Text).contains("6-11 of 20 marks"));
        for format in [Format::Json, Format::Gradescope] {
            let json: serde_json::Value = serde_json::from_str(&render(format)).unwrap();
            let sum: f64 = json["tests"].as_array().unwrap().iter().map(|test| test["score"].as_f64().unwrap()).sum();
            assert_eq!((json["score"].as_f64(), sum), (Some(6.0), 6.0));
            assert_eq!(json["extra_data"]["score_range"], serde_json::json!([6, 11]));
        }
        assert!(render(Format::Junit).contains("value=\"6-11 of 20\""));
        assert!(render(Format::Tap).contains("# 6-11 of 20 marks"));
        assert!(render(Format::Csv).contains(",task1,6,20,not-final,"));
    }

    #[test]
    fn marks_are_not_final_while_a_check_could_not_be_tried_whatever_else_is_lost() {
        let mut grade = of_every_kind();
        grade.verdicts.retain(|verdict| verdict.status != judge::Status::Undecided);
        assert!(grade.open() > 0 && grade.exit_code() == 1);
        let json: serde_json::Value = serde_json::from_str(&Format::Json.render(&grade, 1).unwrap()).unwrap();
        assert_eq!(json["extra_data"]["final_marks"], serde_json::json!(false));
    }

    #[test]
    fn nothing_a_submission_wrote_can_act_on_a_terminal_or_break_a_format() {
        let grade = of_every_kind();
        for format in ALL {
            let rendered = format.render(&grade, 3).unwrap();
            let plain = match format {
                // Our own colours, and nothing else, may be there.
                Format::Text => anstream::adapter::strip_str(&rendered).to_string(),
                _ => rendered,
            };
            assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{format:?}: {plain:?}");
            assert!(!plain.lines().any(|line| line.starts_with("ok 99")), "{format:?}");
        }
    }

    #[test]
    fn without_hints_no_format_has_one() {
        let grade = of_every_kind();
        let hint =
            |hints| ALL.map(|format| format.render(&grade, hints).unwrap().contains("Ask of each kind of namespace"));
        assert!(hint(0).iter().all(|has| !has), "{:?}", hint(0));
        assert_eq!(hint(1), [true, true, true, true, true, false]);
        let json: serde_json::Value = serde_json::from_str(&Format::Json.render(&grade, 2).unwrap()).unwrap();
        assert_eq!(json["tests"][0]["extra_data"]["hints"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_was_not_graded_has_a_report_in_each_format_that_says_so() {
        let errors = [Error::usage("no such \u{1b}[2Jfolder"), Error::cannot_run("no root")];
        for (error, code) in errors.iter().zip([2, 3]) {
            let path = Path::new("x/24m0001_assignment3.tar.gz");
            let what = NotGraded { task: Task::Task3, submission: Some(path), error };
            let render = |format: Format| format.render_not_graded(&what).unwrap();
            for format in ALL {
                assert!(render(format).chars().all(|c| c == '\n' || !c.is_control()), "{format:?}");
            }
            let json: serde_json::Value = serde_json::from_str(&render(Format::Json)).unwrap();
            assert_eq!((&json["exit_code"], &json["student"]), (&code.into(), &"24m0001".into()));
            assert_eq!(json["extra_data"]["final_marks"], serde_json::json!(false));
            let status = if code == 2 { "refused" } else { "not-run" };
            assert!(render(Format::Csv).contains(&format!("\n24m0001,task3,,50,{status},")), "{}", render(Format::Csv));
            assert!(render(Format::Tap).contains("Bail out! no "));
            assert!(render(Format::Junit).contains("errors=\"1\""), "{}", render(Format::Junit));
        }
    }

    #[test]
    fn what_does_not_build_is_red_everywhere_with_the_first_error() {
        let rubric = Rubric::of(Task::Task1).unwrap();
        let verdicts = judge::not_built(&rubric);
        let grade = Grade { verdicts, build_error: Some("x.c:3:1: error: oops".to_owned()), ..of_every_kind() };
        let render = |format: Format| format.render(&grade, 1).unwrap();
        for format in ALL {
            assert!(render(format).contains("x.c:3:1: error: oops"), "{format:?}: {}", render(format));
        }
        assert!(render(Format::Junit).contains("errors=\"1\""));
        assert!(render(Format::Csv).contains(",0,20,not-built,"));
    }
}
