//! Everything that is known of one grading, for programs. `docs/grading.md` names every field.
//!
//! The fields that Gradescope reads keep its names here too, so that its `results.json` is a part of this report.

use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::{NotGraded, plain, reason};
use crate::error::{Error, Exit, Result};
use crate::grading::Grade;
use crate::judge::{Evidence, Loss, Status, Verdict};
use crate::record::{End, Observer, StdoutKind};
use crate::rubric::CheckKind;

/// Grows when a field is added; fields are never renamed.
const SCHEMA: u32 = 3;

/// The whole report.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    grader: Grader,
    task: &'a str,
    submission: &'a str,
    student: &'a str,
    notes: &'a [String],
    #[serde(rename = "where")]
    place: MachineInfo,
    seed: String,
    /// Seconds since 1970.
    started: u64,
    runs: Vec<Ran<'a>>,
    max_score: u32,
    #[serde(flatten)]
    results: Results<'a>,
    exit_code: u8,
    /// Whether cargo built it.
    is_rust: bool,
    next: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<&'a str>,
    leftovers: Leftovers<'a>,
    /// What the submission tried and the box refused.
    refused: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct Grader {
    version: &'static str,
}

/// The machine.
#[derive(Debug, Serialize)]
struct MachineInfo {
    kernel: Option<String>,
    cpus: Option<usize>,
    cpu_controller: Option<String>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Ran<'a> {
    observer: Observer,
    stdout: StdoutKind,
    cpu_enabled: bool,
    end: &'a End,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Leftovers<'a> {
    /// What the grader could not take away.
    outside: Vec<&'a str>,
}

/// The part that Gradescope reads.
#[derive(Debug, Serialize)]
pub(super) struct Results<'a> {
    score: u32,
    execution_time: f64,
    output: String,
    output_format: &'static str,
    visibility: &'static str,
    stdout_visibility: &'static str,
    tests: Vec<Test<'a>>,
    extra_data: RunData,
}

#[derive(Debug, Serialize)]
struct RunData {
    score_range: [u32; 2],
    final_marks: bool,
}

/// One check.
#[derive(Debug, Serialize)]
struct Test<'a> {
    name: &'a str,
    number: String,
    score: u32,
    max_score: u32,
    status: &'static str,
    output: String,
    output_format: &'static str,
    tags: Vec<String>,
    visibility: &'static str,
    extra_data: CheckData<'a>,
}

#[derive(Debug, Serialize)]
struct CheckData<'a> {
    id: &'a str,
    verdict: Status,
    kind: CheckKind,
    lesson: Option<&'a str>,
    claim: &'a str,
    score_range: [u32; 2],
    reason: Option<String>,
    expected: Option<&'a str>,
    observed: Option<&'a str>,
    losses: &'a [Loss],
    evidence: Vec<&'a Evidence>,
    blocked_by: &'a [String],
    hints: &'a [String],
    look: Option<&'a str>,
    verdicts: &'a [Option<Status>],
    remarks: &'a [String],
}

/// The report as JSON.
pub(super) fn report(grade: &Grade, hints: usize) -> Result<String> {
    let uname = rustix::system::uname();
    let report = Report {
        schema: SCHEMA,
        grader: Grader { version: env!("CARGO_PKG_VERSION") },
        task: grade.task().id(),
        submission: &grade.submission,
        student: &grade.student,
        notes: &grade.notes,
        place: MachineInfo {
            kernel: uname.release().to_str().ok().map(str::to_owned),
            cpus: std::thread::available_parallelism().ok().map(std::num::NonZero::get),
            cpu_controller: grade.runs.iter().find_map(|run| run.host.cpu_controller.clone()),
        },
        seed: format!("{:x}", grade.seed),
        started: grade.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        runs: grade.runs.iter().map(ran).collect(),
        max_score: grade.max_marks(),
        results: results(grade, hints),
        exit_code: grade.exit_code(),
        is_rust: grade.style.is_rust,
        next: grade.next(),
        build_error: grade.build_error.as_deref(),
        leftovers: Leftovers { outside: grade.not_clean().map(String::as_str).collect() },
        refused: grade.refused().into_iter().collect(),
    };
    encoded(&report)
}

/// What is written of a submission that was not graded.
#[derive(Debug, Serialize)]
struct Refusal<'a> {
    schema: u32,
    grader: Grader,
    task: &'a str,
    submission: String,
    student: String,
    exit_code: u8,
    /// Why there is no verdict.
    error: String,
    /// Whether that is because the hand-in has no program for this task.
    missing: bool,
    #[serde(flatten)]
    results: Results<'a>,
}

/// The report on a submission that was not graded, as JSON.
pub(super) fn not_graded(what: &NotGraded<'_>) -> Result<String> {
    encoded(&Refusal {
        schema: SCHEMA,
        grader: Grader { version: env!("CARGO_PKG_VERSION") },
        task: what.task.id(),
        submission: what.submission(),
        student: what.student(),
        exit_code: what.error.exit_code(),
        error: what.error.line(),
        missing: what.error.exit == Exit::Missing,
        results: no_results(what),
    })
}

/// The part of that which Gradescope reads.
pub(super) fn no_results(what: &NotGraded<'_>) -> Results<'static> {
    Results {
        score: 0,
        execution_time: 0.0,
        output: format!("not graded: {}", crate::escape::drawn(&what.error.line())),
        output_format: "text",
        visibility: "visible",
        stdout_visibility: "hidden",
        tests: Vec::new(),
        extra_data: RunData { score_range: [0, 0], final_marks: false },
    }
}

fn ran(run: &crate::record::Run) -> Ran<'_> {
    Ran {
        observer: run.observer,
        stdout: run.stdout_kind,
        cpu_enabled: run.host.cpu_enabled,
        end: &run.end,
        seconds: run.wall.as_secs_f64(),
    }
}

/// The part that Gradescope reads. Undecided marks are not given: the service wants one number, and the text says why.
pub(super) fn results(grade: &Grade, hints: usize) -> Results<'_> {
    let final_marks = grade.is_final();
    let mut output = format!("{} marks", super::marks(grade.marks(), grade.open(), grade.max_marks()));
    if !final_marks {
        output += "; some could not be decided, so these marks are not final";
    }
    if let Some(error) = &grade.build_error {
        output = format!("does not build: {}", crate::escape::drawn(error));
    }
    Results {
        score: grade.marks(),
        execution_time: grade.took.as_secs_f64(),
        output,
        output_format: "text",
        visibility: "visible",
        stdout_visibility: "hidden",
        tests: grade.verdicts.iter().zip(1..).map(|(verdict, nth)| test(grade, verdict, nth, hints)).collect(),
        extra_data: RunData { score_range: [grade.marks(), grade.marks() + grade.open()], final_marks },
    }
}

fn test<'a>(grade: &Grade, verdict: &'a Verdict, nth: usize, hints: usize) -> Test<'a> {
    let check = &verdict.check;
    let kind = match check.kind {
        CheckKind::Outcome => "outcome",
        CheckKind::Method => "method",
    };
    let mut tags = vec![kind.to_owned()];
    tags.extend(check.lesson.as_ref().map(|lesson| format!("lesson {lesson}")));
    if verdict.open > 0 {
        tags.push("not graded".to_owned());
    }
    let why = reason(verdict);
    Test {
        name: &check.claim,
        number: format!("{}.{nth}", grade.task().number()),
        score: verdict.marks,
        max_score: check.marks,
        status: if verdict.status == Status::Passed { "passed" } else { "failed" },
        output: plain(verdict, hints),
        output_format: "text",
        tags,
        visibility: "visible",
        extra_data: CheckData {
            id: &check.id,
            verdict: verdict.status,
            kind: check.kind,
            lesson: check.lesson.as_deref(),
            claim: &check.claim,
            score_range: [verdict.marks, verdict.marks + verdict.open],
            reason: (!why.is_empty()).then_some(why),
            expected: verdict.losses.first().map(|loss| loss.expected.as_str()),
            observed: verdict.losses.first().map(|loss| loss.observed.as_str()),
            losses: &verdict.losses,
            evidence: verdict.losses.iter().flat_map(|loss| &loss.evidence).collect(),
            blocked_by: &verdict.blocked_by,
            hints: check.hints.get(..hints.min(check.hints.len())).unwrap_or_default(),
            look: check.look.as_deref(),
            verdicts: &verdict.by_run,
            remarks: &verdict.remarks,
        },
    }
}

/// JSON in which every control character is written as an escape, those from 0x7f on as well.
pub(super) fn encoded(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value).map_err(|e| Error::broken(format!("the report: {e}")))?;
    let mut safe = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe += &format!("\\u{:04x}", u32::from(c));
            }
            _ => safe.push(c),
        }
    }
    safe.push('\n');
    Ok(safe)
}
