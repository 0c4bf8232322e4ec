//! From records to verdicts and marks.
//!
//! A judge is a pure function of the runs: it starts nothing, reads no file and asks no clock. So a verdict can be had
//! again from stored runs, and every rule here is tested without root.
//!
//! Three rules hold for every check. What a run cannot show is not judged by it. A check must hold in each run that
//! can show it; where two runs disagree the verdict is *undecided*, unless a run holds positive evidence, which no
//! other run can take back: a program that behaves only while it is watched has misbehaved. And where nothing was
//! tried, nothing is passed: a program that does nothing at all has left nothing behind either, and gets no marks for it.
//!
//! Look: `grade task1 --explain child2.uts`.

pub mod history;
mod task1;
mod task2;
mod task3;
mod task4;
#[cfg(test)]
mod tests;
mod transcript;
pub mod words;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::record::steps::StepKind;
use crate::record::{End, EventKind, Namespaces, Pid, Run};
use crate::rubric::{Check, Edition, Rubric};
use crate::task::Task;
use history::History;

/// From here on, limits that follow the machine's speed cannot tell slow from stuck: what was not seen is undecided.
const CROWDED: f64 = 12.0;

/// The end of the reason for which a check waits for its lesson, or for an earlier one.
const NOT_WRITTEN: &str = " is not written yet";

/// What the judge must know of the submission besides its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Written in Rust: its output on a pipe is judged. For C it is a remark, since stdio buffers there.
    pub is_rust: bool,
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The claim is true.
    Passed,
    /// Part of it is.
    Partial,
    /// It is false.
    Failed,
    /// Its marked section still holds the starter's `todo!`.
    NotStarted,
    /// It cannot be tried, since a check that it needs is lost.
    Blocked,
    /// The runs differ, or the observer lost the program: no marks given, none counted as lost.
    Undecided,
    /// This machine cannot try it: no marks given, none counted as lost.
    Skipped,
}

/// The verdict on one check.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The check.
    pub check: Check,
    /// How it ended.
    pub status: Status,
    /// Marks given.
    pub marks: u32,
    /// Marks neither given nor lost.
    pub open: u32,
    /// What is false, and what it cost.
    pub losses: Vec<Loss>,
    /// Why it was not started, not tried, not decided or not run.
    pub reason: Option<String>,
    /// The lost checks that keep this one from being tried.
    pub blocked_by: Vec<String>,
    /// What is worth knowing and costs nothing.
    pub remarks: Vec<String>,
    /// How each run alone would have been judged, in the order of the runs; none where it cannot show the thing.
    pub by_run: Vec<Option<Status>>,
}

/// A part of a claim that is false.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The part, as `points` of the rubric calls it; empty when the check is all or nothing.
    pub part: String,
    /// Marks it cost.
    pub marks: u32,
    /// What should be so.
    pub expected: String,
    /// What the kernel said instead, or what was not seen.
    pub observed: String,
    /// Whether the kernel showed the opposite, as against not showing the thing.
    pub positive: bool,
    /// More lines of the same, where one does not say it.
    pub details: Vec<String>,
    /// The moments on which this rests; reports list them by check.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// One moment of a run that a verdict rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Which run, from 1.
    pub run: usize,
    /// Milliseconds since the first exec.
    pub at_ms: u64,
    /// The process, as the observer numbers it.
    pub pid: i32,
    /// The same process as the observer, the box and its nested PID namespaces number it, outermost first.
    pub inner_pids: Vec<i32>,
    /// What it did: a call with its decoded arguments and result, or the line it wrote.
    pub what: String,
    /// Its namespaces at that moment.
    #[serde(rename = "ns")]
    pub namespaces: Namespaces,
}

/// What one run says about one check.
#[derive(Debug, Default)]
struct Finding {
    /// What it says of each part; one part without a name when the check is all or nothing.
    points: Vec<(&'static str, Outcome)>,
    remarks: Vec<String>,
}

/// What one run says about one part of a check.
#[derive(Debug, Clone)]
enum Outcome {
    Held,
    Lost(Box<Why>),
    /// The run cannot show it, for this reason.
    Unseen(String),
    /// There was nothing to try it on, for this reason; the checks that would have made something.
    NotTried(&'static [&'static str], String),
    /// This machine cannot try it, for this reason.
    Skipped(String),
}

/// Why a part is lost.
#[derive(Debug, Clone, Default)]
struct Why {
    expected: String,
    observed: String,
    details: Vec<String>,
    evidence: Vec<Evidence>,
    /// The kernel showed the opposite, as against not showing the thing.
    positive: bool,
    /// Three hints that fit this cause, where it is known; the check's own else.
    hints: Option<[&'static str; 3]>,
}

impl Outcome {
    /// The kernel showed the opposite of the claim.
    fn wrong(expected: impl Into<String>, observed: impl Into<String>, evidence: Vec<Evidence>) -> Outcome {
        let (expected, observed) = (expected.into(), observed.into());
        Outcome::Lost(Box::new(Why { expected, observed, evidence, positive: true, ..Why::default() }))
    }

    /// What the claim speaks of was not seen.
    fn absent(expected: impl Into<String>, observed: impl Into<String>) -> Outcome {
        Outcome::Lost(Box::new(Why { expected: expected.into(), observed: observed.into(), ..Why::default() }))
    }
}

impl Finding {
    /// A finding on a check that is all or nothing.
    fn whole(outcome: Outcome) -> Finding {
        Finding { points: vec![("", outcome)], remarks: Vec::new() }
    }

    /// A finding on a check with parts.
    fn parts(points: impl IntoIterator<Item = (&'static str, Outcome)>) -> Finding {
        Finding { points: points.into_iter().collect(), remarks: Vec::new() }
    }

    /// What was only not seen becomes unseen: the run could not see it.
    fn without_what_was_not_seen(self, why: &str) -> Finding {
        self.unseen_where(why, |outcome| match outcome {
            Outcome::Lost(lost) => !lost.positive,
            outcome => matches!(outcome, Outcome::NotTried(..)),
        })
    }

    /// All that did not hold becomes unseen: the moments of the run say nothing of it.
    fn without_what_did_not_hold(self, why: &str) -> Finding {
        self.unseen_where(why, |outcome| matches!(outcome, Outcome::Lost(_) | Outcome::NotTried(..)))
    }

    fn unseen_where(mut self, why: &str, is_to_go: impl Fn(&Outcome) -> bool) -> Finding {
        for (_, outcome) in self.points.iter_mut().filter(|(_, outcome)| is_to_go(outcome)) {
            *outcome = Outcome::Unseen(why.to_owned());
        }
        self
    }

    /// The same, with a remark.
    fn remark(mut self, remark: impl Into<String>) -> Finding {
        self.remarks.push(remark.into());
        self
    }
}

/// Judges the `runs` of one submission. The verdicts come in the order of the rubric.
pub fn judge(task: Task, rubric: &Rubric, runs: &[Run], style: Style) -> Vec<Verdict> {
    let histories: Vec<History<'_>> =
        runs.iter().zip(1..).map(|(run, number)| History::new(run, number, rubric)).collect();
    let waiting = unwritten_lessons(runs, rubric);
    let mut verdicts: Vec<Verdict> = Vec::new();
    for check in rubric.checks.iter().filter(|check| is_asked(check, runs)) {
        let findings = histories.iter().map(|history| {
            let finding = match task {
                Task::Task1 => task1::finding(&check.id, history, style),
                Task::Task2 => task2::finding(&check.id, history, style),
                Task::Task3 => task3::finding(check, history, style),
                Task::Task4 => task4::finding(&check.id, history),
            };
            let finding = finding.unwrap_or_else(|| Finding::whole(Outcome::Unseen("no judge for this check".into())));
            as_far_as_seen(finding, history.run)
        });
        let mut findings: Vec<Finding> = findings.collect();
        if !waiting.is_empty() || crashes_alike(runs) {
            believe_what_was_seen(&mut findings);
        }
        let (mut verdict, held_once) = combined(check, &findings);
        hold_back(&mut verdict, &verdicts, &waiting, task);
        hint_at_its_end(&mut verdict, runs, task);
        tell_what_was_not_tried(&mut verdict);
        leave_open(&mut verdict, &verdicts, held_once);
        tell_once(&mut verdict, &verdicts);
        if check.id == "clean" {
            verdict.remarks.extend(runs.first().map(|run| run.build_remarks.clone()).unwrap_or_default());
        }
        verdicts.push(verdict);
    }
    verdicts
}

/// Whether a check is for these runs: some are for one edition of a tool alone.
fn is_asked(check: &Check, runs: &[Run]) -> bool {
    match check.edition {
        None => true,
        Some(Edition::Layers) => runs.iter().any(|run| run.session.builds_layers),
    }
}

/// The verdicts on a submission that does not build: nothing could be tried.
pub fn not_built(rubric: &Rubric) -> Vec<Verdict> {
    let verdicts = rubric.checks.iter().filter(|check| is_asked(check, &[])).map(|check| {
        let (mut verdict, _) = combined(check, &[]);
        verdict.void(Status::Blocked);
        verdict.reason = Some("the submission does not build".to_owned());
        verdict
    });
    verdicts.collect()
}

/// The roles of the task with their processes in `run`.
pub fn roles(task: Task, rubric: &Rubric, run: &Run) -> Vec<(&'static str, Pid)> {
    let history = History::new(run, 1, rubric);
    match task {
        Task::Task1 => task1::roles(&history),
        Task::Task2 => task2::roles(&history),
        // A session records its processes by name.
        Task::Task3 | Task::Task4 => Vec::new(),
    }
}

/// The lines of a run that say what the kernel does not: the number of each, and what should stand there.
pub fn false_lines(history: &History<'_>, style: Style) -> Vec<(usize, String)> {
    transcript::false_lines(history, style).into_iter().map(|(line, fact)| (line.number, fact)).collect()
}

/// Whether a program of `runs` said of one of its lessons that it is not written.
pub fn tells_of_unwritten_lessons(runs: &[Run], rubric: &Rubric) -> bool {
    let told = unwritten_lessons(runs, rubric);
    rubric.checks.iter().any(|check| check.lesson.as_ref().is_some_and(|lesson| told.contains(lesson)))
}

/// The lessons whose sections still hold the starter's `todo!`, in the order in which they spoke up.
fn unwritten_lessons(runs: &[Run], rubric: &Rubric) -> Vec<String> {
    let mut lessons = Vec::new();
    for text in runs.iter().flat_map(Run::outputs).flat_map(|output| [&output.stderr, &output.stdout]) {
        for rest in text.split("not yet implemented: Lesson ").skip(1) {
            let lesson: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
            let lesson = lesson.trim_end_matches('.').to_owned();
            if !lesson.is_empty() && !lessons.contains(&lesson) {
                lessons.push(lesson);
            }
        }
        lessons.extend(words::panics(text).into_iter().filter_map(|(place, why)| {
            let is_plain = ["not yet implemented", "not implemented"].iter().any(|word| why.starts_with(word));
            lesson_at(rubric, place).filter(|_| is_plain && !why.contains("Lesson "))
        }));
    }
    lessons.dedup();
    lessons
}

/// The lesson in whose section a place of the source, FILE:LINE:COLUMN, is, as far as it is known where sections begin.
fn lesson_at(rubric: &Rubric, place: &str) -> Option<String> {
    let split = |place: &str| {
        let mut parts = place.split(':');
        Some((parts.next()?.to_owned(), parts.next()?.parse::<u32>().ok()?))
    };
    let (file, line) = split(place)?;
    let begins = |check: &'_ Check| {
        let (of, from) = split(check.place.as_deref()?)?;
        (of == file && from <= line).then_some((from, check.lesson.clone()?))
    };
    rubric.checks.iter().filter_map(begins).max().map(|(_, lesson)| lesson)
}

/// What was not seen in a run that the observer lost does not count as absent.
fn as_far_as_seen(finding: Finding, run: &Run) -> Finding {
    if run.end == End::Unknown {
        finding.without_what_was_not_seen("the observer lost the program")
    } else if run.session.broken_off {
        let why = run.session.cut.as_deref().unwrap_or("the session was broken off");
        finding.without_what_was_not_seen(&format!("it did not come to that: {why}"))
    } else if run.crowding > CROWDED && ran_out_of_time(run) {
        let stood = match &run.end {
            End::TimedOut(stood) => format!(", {stood},"),
            _ => String::new(),
        };
        let why = format!("the time was up{stood} on a machine that was {:.0} times too busy", run.crowding);
        finding.without_what_was_not_seen(&why)
    } else {
        finding
    }
}

/// Whether the program, or a command of a tool, had to be ended.
fn ran_out_of_time(run: &Run) -> bool {
    let hung =
        |did: &StepKind| matches!(did, StepKind::Command(command) if matches!(command.end, Some(End::TimedOut(_))));
    matches!(run.end, End::TimedOut(_)) || run.session.steps.iter().any(|step| hung(&step.did))
}

/// The first process that a fault of its own ended, and the signal: signal(7).
fn crash(run: &Run) -> Option<(Pid, Signal)> {
    const CRASHES: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT];
    run.events.iter().find_map(|event| match event.what {
        EventKind::Exited { signal: Some(signal), .. } => {
            let signal = Signal::try_from(signal).ok().filter(|signal| CRASHES.contains(signal))?;
            Some((event.state.inner_pids.get(1).copied().unwrap_or(event.pid), signal))
        }
        _ => None,
    })
}

/// Whether a process of the program crashes, and its runs wrote as much all the same: a program that goes on further while
/// it is watched is another matter.
fn crashes_alike(runs: &[Run]) -> bool {
    let lines = |run: &Run| run.output.stdout.lines().count();
    let are_alike = runs.windows(2).all(|pair| lines(&pair[0]) == lines(&pair[1]));
    are_alike && runs.iter().any(|run| crash(run).is_some())
}

/// Of a program that stops at an unwritten section, or crashes: what held in one run did happen, though another saw nothing
/// of it. One observer sees a process that stops before its first line, the other does not.
fn believe_what_was_seen(findings: &mut [Finding]) {
    let held: Vec<&'static str> = findings
        .iter()
        .flat_map(|finding| &finding.points)
        .filter(|(_, outcome)| matches!(outcome, Outcome::Held))
        .map(|(part, _)| *part)
        .collect();
    for (part, outcome) in findings.iter_mut().flat_map(|finding| &mut finding.points) {
        let saw_nothing = match outcome {
            Outcome::Lost(why) => !why.positive,
            Outcome::NotTried(..) => true,
            _ => false,
        };
        if saw_nothing && held.contains(part) {
            *outcome = Outcome::Unseen("the program stopped before this run could see it".to_owned());
        }
    }
}

/// One verdict from what each run says; and the marks of parts that held in one run and could not be tried in another.
fn combined(check: &Check, findings: &[Finding]) -> (Verdict, u32) {
    let mut verdict = Verdict {
        check: check.clone(),
        status: Status::Passed,
        marks: 0,
        open: 0,
        losses: Vec::new(),
        reason: None,
        blocked_by: Vec::new(),
        remarks: Vec::new(),
        by_run: findings.iter().map(|finding| alone(check, finding)).collect(),
    };
    let parts: Vec<(&str, u32)> = match check.points.is_empty() {
        true => vec![("", check.marks)],
        false => check.points.iter().map(|(part, marks)| (part.as_str(), *marks)).collect(),
    };
    for remark in findings.iter().flat_map(|finding| &finding.remarks) {
        if !verdict.remarks.contains(remark) {
            verdict.remarks.push(remark.clone());
        }
    }
    let (mut seen, mut held_once) = (Vec::new(), 0);
    for (part, marks) in parts {
        // A finding without parts speaks for all of them.
        let speaks = |finding: &Finding| {
            finding.points.iter().find(|(name, _)| *name == part || name.is_empty()).map(|(_, outcome)| outcome.clone())
        };
        let outcomes: Vec<Outcome> = findings.iter().filter_map(speaks).collect();
        let held = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Held));
        let status = settle(&mut verdict, part, marks, outcomes);
        if held && status == Status::Blocked {
            held_once += marks;
        }
        seen.push(status);
    }
    verdict.status = if seen.iter().all(|status| *status == Status::Passed) {
        Status::Passed
    } else if seen.contains(&Status::Undecided) {
        Status::Undecided
    } else if seen.contains(&Status::Skipped) {
        Status::Skipped
    } else if verdict.marks > 0 {
        Status::Partial
    } else if seen.contains(&Status::Failed) {
        Status::Failed
    } else {
        Status::Blocked
    };
    (verdict, held_once)
}

/// Books one part of a check and says how it ended.
fn settle(verdict: &mut Verdict, part: &str, marks: u32, outcomes: Vec<Outcome>) -> Status {
    let runs = outcomes.len();
    let (mut held, mut lost, mut not_tried, mut skipped, mut unseen) = (0, Vec::new(), None, None, None);
    for outcome in outcomes {
        match outcome {
            Outcome::Held => held += 1,
            Outcome::Lost(why) => lost.push(*why),
            Outcome::NotTried(needs, why) => not_tried = not_tried.or(Some((needs, why))),
            Outcome::Skipped(why) => skipped = skipped.or(Some(why)),
            Outcome::Unseen(why) => unseen = unseen.or(Some(why)),
        }
    }
    let proven = lost.iter().position(|why| why.positive);
    let differ = held > 0 && proven.is_none();
    if !lost.is_empty() && !differ {
        let why = lost.swap_remove(proven.unwrap_or(0));
        let Why { expected, observed, details, evidence, positive, hints } = why;
        if let Some(hints) = hints {
            verdict.check.hints = hints.map(str::to_owned).to_vec();
        }
        // One reason for two parts is reported once.
        let same = verdict.losses.iter_mut().find(|loss| loss.expected == expected && loss.observed == observed);
        if let Some(loss) = same {
            loss.marks += marks;
            loss.part = format!("{}, {part}", loss.part);
            return Status::Failed;
        }
        verdict.losses.push(Loss { part: part.to_owned(), marks, expected, observed, positive, details, evidence });
        return Status::Failed;
    }
    if let Some((needs, why)) = not_tried {
        // This check itself would have made it, and has nothing else to say.
        if needs.contains(&verdict.check.id.as_str()) && held == 0 && verdict.losses.is_empty() {
            let expected = verdict.check.claim.clone();
            verdict.losses.push(Loss { part: part.to_owned(), marks, expected, observed: why, ..Loss::default() });
            return Status::Failed;
        }
        verdict.reason.get_or_insert(why);
        for need in needs.iter().filter(|need| **need != verdict.check.id) {
            if !verdict.blocked_by.iter().any(|known| known == need) {
                verdict.blocked_by.push((*need).to_owned());
            }
        }
        return Status::Blocked;
    }
    if let Some(why) = lost.into_iter().next() {
        let reason = format!("it held in {held} of {runs} runs; in another, {}", why.observed);
        verdict.reason.get_or_insert(reason);
        verdict.open += marks;
        return Status::Undecided;
    }
    if held > 0 {
        verdict.marks += marks;
        return Status::Passed;
    }
    verdict.open += marks;
    match skipped {
        Some(why) => {
            verdict.reason.get_or_insert(why);
            Status::Skipped
        }
        None => {
            verdict.reason.get_or_insert(unseen.unwrap_or_else(|| "no run could show it".to_owned()));
            Status::Undecided
        }
    }
}

/// How one run alone would be judged.
fn alone(check: &Check, finding: &Finding) -> Option<Status> {
    let count = |wanted: fn(&Outcome) -> bool| finding.points.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let held = count(|outcome| matches!(outcome, Outcome::Held));
    let lost = count(|outcome| matches!(outcome, Outcome::Lost(_)));
    let blocked = count(|outcome| matches!(outcome, Outcome::NotTried(..)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    match (held, lost) {
        (0, 0) if blocked > 0 => Some(Status::Blocked),
        (0, 0) if skipped > 0 => Some(Status::Skipped),
        (0, 0) => None,
        (_, 0) if blocked == 0 => Some(Status::Passed),
        (0, _) => Some(Status::Failed),
        _ if check.points.is_empty() => Some(Status::Failed),
        _ => Some(Status::Partial),
    }
}

/// Takes back the marks of a check that could not be tried: its section is not written, or a check it needs is lost.
fn hold_back(verdict: &mut Verdict, earlier: &[Verdict], waiting: &[String], task: Task) {
    let own = verdict.check.lesson.as_ref().filter(|lesson| waiting.contains(lesson));
    if let Some(lesson) = own {
        verdict.reason = Some(format!("Lesson {lesson}{NOT_WRITTEN}"));
        verdict.remarks.clear();
        verdict.void(Status::NotStarted);
        return;
    }
    let missing = |need: &&String| {
        let status = earlier.iter().find(|other| other.check.id == **need).map(|other| other.status);
        matches!(status, Some(Status::Failed | Status::NotStarted | Status::Blocked))
    };
    let lost_needs: Vec<String> = verdict.check.needs.iter().filter(missing).cloned().collect();
    if !lost_needs.is_empty() {
        verdict.reason = None;
        verdict.blocked_by = lost_needs;
        verdict.void(Status::Blocked);
        return;
    }
    let unrunnable =
        |need: &String| earlier.iter().find(|other| other.check.id == *need && other.status == Status::Skipped);
    if let Some(need) = verdict.check.needs.iter().find_map(unrunnable) {
        verdict.reason = Some(format!("{} could not be tried here", need.check.id));
        verdict.void(Status::Skipped);
        verdict.open = verdict.check.marks;
        return;
    }
    // A lesson that comes before the unwritten one had its turn: what it lost is its own.
    let comes_first = |first: &String| verdict.check.lesson.as_ref().is_some_and(|own| own < first);
    if verdict.marks == 0 && verdict.open == 0 && waiting.first().is_some_and(comes_first) {
        keep_what_is_lost(verdict, earlier);
        return;
    }
    // The program stopped at a section that is still to be written: what did not happen after it says nothing.
    let follows = verdict.check.lesson.is_none() || verdict.losses.iter().all(|loss| !loss.positive);
    // A tool's commands are called one by one; any other program comes to its lessons in their order.
    let is_later = |lesson: &String| verdict.check.lesson.as_ref().is_some_and(|own| own > lesson);
    let was_not_reached = !task.is_tool() && waiting.first().is_some_and(is_later);
    if let Some(lesson) = waiting.first().filter(|_| follows && (verdict.status != Status::Passed || was_not_reached)) {
        let is_written = !was_not_reached && verdict.check.lesson.is_some() && verdict.marks > 0;
        if is_written && task.is_tool() {
            return;
        }
        if is_written && verdict.open == 0 {
            // All that ran before that section holds. A lesson that is written is worth its marks.
            verdict.void(Status::Passed);
            verdict.marks = verdict.check.marks;
            verdict.reason = None;
            verdict.blocked_by.clear();
            verdict.remarks.push(format!("judged by what ran before Lesson {lesson}, which is not written yet"));
            return;
        }
        verdict.reason = Some(format!("Lesson {lesson}{NOT_WRITTEN}"));
        verdict.blocked_by.clear();
        verdict.remarks.clear();
        verdict.void(Status::Blocked);
        return;
    }
    keep_what_is_lost(verdict, earlier);
}

/// Of the checks that block this one, only those that are really lost.
fn keep_what_is_lost(verdict: &mut Verdict, earlier: &[Verdict]) {
    let lost = |id: &String| earlier.iter().any(|other| other.check.id == *id && other.status != Status::Passed);
    verdict.blocked_by.retain(lost);
}

/// Hints where the program panicked before it did the thing.
const PANICKED: [&str; 3] = [
    "The program panicked before it came to this. Which line does the message name, and what did that line take for certain?",
    "A panic says what was not as the code assumed: a value that is not there, an error that nobody looked at.",
    "Replace unwrap() and expect() on that line by the ? operator: the program then says which call failed, and why.",
];
/// Hints where one of its processes crashed.
const CRASHED: [&str; 3] = [
    "A process of the program used memory that is not its own. Which one, and what was it given to work with?",
    "clone(2) of the C library takes the end of the new stack, not its begin: a stack grows downwards. A NULL that a failed \
     call returned is another common cause.",
    "Compile with -g -fsanitize=address, or run it under `strace -f`: the last call before SIGSEGV is near the place.",
];
/// Hints where it took too long.
const TOOK_TOO_LONG: [&str; 3] = [
    "The program did not end by itself. Is it computing, or asleep in a call? What would have to happen for it to go on?",
    "Computing: a loop whose condition never changes. Asleep in read: the other end of that pipe is still open, or nobody \
     writes. Asleep in wait4: the child does not end.",
    "strace -f shows the last call of each process: start with the one that is not waiting for another.",
];

/// Hints where a script could not be read to its end.
const DOES_NOT_PARSE: [&str; 3] = [
    "The shell could not read the script: nothing from that place on was run. `bash -n FILE` says the same at once, without \
     running it.",
    "The line that it names is where it gave up. The mistake is there or before: a quote, a bracket or a `{` that nobody \
     closes, an `if` without its `fi`, a `do` without its `done`.",
    "`shellcheck FILE` names the line on which it began. If it knows no answer either: take out half of the script, and see \
     whether `bash -n` is content; then half of the half that it was not content with.",
];

/// Where a program panicked, crashed, took too long or could not be read before it did the thing, the hints are about that,
/// not about the thing.
fn hint_at_its_end(verdict: &mut Verdict, runs: &[Run], task: Task) {
    if verdict.losses.iter().any(|loss| loss.observed.contains(words::STILL_COMPUTING)) {
        verdict.check.hints = TOOK_TOO_LONG.map(str::to_owned).to_vec();
        return;
    }
    if verdict.losses.iter().any(|loss| words::does_not_parse(&loss.observed)) {
        verdict.check.hints = DOES_NOT_PARSE.map(str::to_owned).to_vec();
        return;
    }
    let was_not_seen = !verdict.losses.is_empty() && verdict.losses.iter().all(|loss| loss.evidence.is_empty());
    if task.is_tool() || verdict.status != Status::Failed || !was_not_seen {
        return;
    }
    let crashed = runs.iter().find_map(crash);
    // Where the program itself crashed, its end says so already.
    let is_told = runs.iter().any(|run| matches!(run.end, End::Signaled(_)));
    if let (Some((pid, signal)), Some(loss), false) = (crashed, verdict.losses.first_mut(), is_told) {
        loss.observed += &format!("; {signal} ended its process {pid}");
    }
    let hints = if runs.iter().any(|run| !words::panics(&run.output.stderr).is_empty()) {
        PANICKED
    } else if crashed.is_some() {
        CRASHED
    } else if runs.iter().any(|run| matches!(run.end, End::TimedOut(_))) {
        TOOK_TOO_LONG
    } else if runs.iter().any(|run| words::does_not_parse(&run.output.stderr)) {
        DOES_NOT_PARSE
    } else {
        return;
    };
    verdict.check.hints = hints.map(str::to_owned).to_vec();
}

/// The reason for which an earlier check could not run here is not told again.
fn tell_once(verdict: &mut Verdict, earlier: &[Verdict]) {
    let same = |other: &&Verdict| other.status == Status::Skipped && other.reason == verdict.reason;
    if verdict.status == Status::Skipped {
        if let Some(first) = earlier.iter().find(same) {
            verdict.reason = Some(format!("for the same reason as {}", first.check.id));
        }
    }
}

/// The parts of a check that is passed in part, and that could not be tried, are reported like those that are lost.
fn tell_what_was_not_tried(verdict: &mut Verdict) {
    let told: u32 = verdict.losses.iter().map(|loss| loss.marks).sum();
    let untold = verdict.lost().saturating_sub(told);
    if verdict.status != Status::Partial || untold == 0 {
        return;
    }
    let Some(why) = verdict.reason.take() else { return };
    let observed = match verdict.blocked_by.as_slice() {
        [] => why,
        needs => format!("{why}; not tried, since it needs {}", words::list(needs)),
    };
    verdict.losses.push(Loss {
        part: String::new(),
        marks: untold,
        expected: verdict.check.claim.clone(),
        observed,
        positive: false,
        details: Vec::new(),
        evidence: Vec::new(),
    });
}

/// What held in one run, and in another had nothing to be tried on, is as undecided as what it waits for.
fn leave_open(verdict: &mut Verdict, earlier: &[Verdict], held_once: u32) {
    let is_undecided =
        |id: &String| earlier.iter().any(|other| other.check.id == *id && other.status == Status::Undecided);
    let waits = !verdict.blocked_by.is_empty() && verdict.blocked_by.iter().all(is_undecided);
    if held_once > 0 && waits && matches!(verdict.status, Status::Blocked | Status::Partial) {
        verdict.open += held_once;
        verdict.status = Status::Undecided;
    }
}

impl Verdict {
    /// Ends the check as `status`, without marks.
    fn void(&mut self, status: Status) {
        self.status = status;
        self.marks = 0;
        self.open = 0;
        self.losses.clear();
    }

    /// Whether it could not be tried because a lesson before it is not written.
    pub fn waits_for_a_lesson(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| reason.ends_with(NOT_WRITTEN))
    }

    /// Marks that are neither given nor open.
    pub fn lost(&self) -> u32 {
        self.check.marks.saturating_sub(self.marks).saturating_sub(self.open)
    }
}
