//! One grading: the runs, the verdicts, and what they add up to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Exit, Result};
use crate::handout::{lessons, section};
use crate::judge::words::panics;
use crate::judge::{self, Status, Style, Verdict};
use crate::observe::plan::RunPlan;
use crate::observe::run;
use crate::record::{Observer, Run, StdoutKind};
use crate::rubric::Rubric;
use crate::sandbox;
use crate::session;
use crate::submission::{Submission, kit::Kit};
use crate::task::Task;

/// The submission to grade, and the options.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task.
    pub task: Task,
    /// The folder that was handed in; none is the workspace that holds the current directory.
    pub submission: Option<PathBuf>,
    /// What a hand-in in the course's layout is completed with.
    pub kit: Kit,
    /// The checks that are reported; empty is all.
    pub only: Vec<String>,
    /// What is random in the box follows from this number.
    pub seed: u64,
    /// How many times it is run.
    pub runs: u32,
    /// Keep the submission's folder as the run left it.
    pub keep: bool,
    /// Factor on all time limits.
    pub time_scale: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Grade {
    /// The checks and the reference.
    pub rubric: Rubric,
    /// The submission in a few words.
    pub submission: String,
    /// The student's roll number, as far as the name of the hand-in has it.
    pub student: String,
    /// What had to be done to find the submission and make it ready.
    pub notes: Vec<String>,
    /// Whether it is Rust or C.
    pub style: Style,
    /// The seed of the first run.
    pub seed: u64,
    /// What was seen.
    pub runs: Vec<Run>,
    /// One verdict for each check that is reported.
    pub verdicts: Vec<Verdict>,
    /// The first error of the compiler, when the submission does not build.
    pub build_error: Option<String>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The command line that grades this once more, to which advice adds options.
    pub again: String,
}

impl Request {
    /// Runs the submission and judges it.
    ///
    /// # Errors
    /// Every [`Error`](crate::error::Error) but `Exit::DoesNotBuild`, which is a grade: no marks.
    pub fn grade(&self) -> Result<Grade> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let submission = Submission::find(self.submission.as_deref(), self.task, self.kit.clone())?;
        let style = Style { is_rust: submission.is_rust() };
        let mut rubric = self.rubric(style)?;
        if style.is_rust {
            let places = places(submission.origin(), self.task);
            for check in &mut rubric.checks {
                check.place = check.lesson.as_ref().and_then(|lesson| places.get(lesson).cloned());
            }
        } else if let Some(program) = submission.program() {
            lessons::name(&mut rubric, &program, submission.origin());
        }
        let (runs, build_error) = match self.observe(&submission) {
            Ok(runs) => (runs, None),
            Err(error) if error.exit == Exit::DoesNotBuild => (Vec::new(), Some(error.reason())),
            Err(error) => return Err(error),
        };
        let verdicts = match &build_error {
            None => judge::judge(self.task, &rubric, &runs, style),
            Some(_) => judge::not_built(&rubric),
        };
        let mut notes = submission.notes();
        notes.extend(sandbox::missing_walls());
        let (student, submission) = (submission.student(), submission.describe());
        Ok(Grade {
            submission,
            student,
            notes,
            build_error,
            ..self.grade_of(rubric, style, (runs, verdicts), (started, clock))
        })
    }

    /// Judges runs that were recorded earlier.
    ///
    /// # Errors
    /// `Exit::CannotRun` for a task without checks, `Exit::Usage` for a check that does not exist.
    pub fn judge_again(&self, runs: Vec<Run>, style: Style) -> Result<Grade> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let mut rubric = self.rubric(style)?;
        if !style.is_rust {
            lessons::name_where_told(&mut rubric, &runs);
        }
        let verdicts = judge::judge(self.task, &rubric, &runs, style);
        Ok(self.grade_of(rubric, style, (runs, verdicts), (started, clock)))
    }

    /// The grade of recorded runs, with the verdicts that were asked for.
    fn grade_of(
        &self,
        rubric: Rubric,
        style: Style,
        (runs, mut verdicts): (Vec<Run>, Vec<Verdict>),
        (started, clock): (SystemTime, Instant),
    ) -> Grade {
        verdicts.retain(|verdict| self.only.is_empty() || self.only.contains(&verdict.check.id));
        let (submission, student) = ("recorded runs".to_owned(), String::new());
        let (notes, build_error) = (Vec::new(), None);
        let (seed, took, again) = (self.seed, clock.elapsed(), self.again());
        Grade { rubric, submission, student, notes, style, seed, runs, verdicts, build_error, started, took, again }
    }

    /// This program as it was typed, with the rights that it takes, and what it is to grade.
    fn again(&self) -> String {
        let program = std::env::args_os().next().unwrap_or_else(|| "grade".into());
        // Who is logged in as root need not have sudo.
        let sudo =
            if nix::unistd::geteuid().is_root() && std::env::var_os("SUDO_UID").is_none() { "" } else { "sudo " };
        let mut again = format!("{sudo}{} {}", word(&program), self.task.id());
        if let Some(dir) = &self.submission {
            again += &format!(" --submission {}", word(dir.as_os_str()));
        }
        again
    }

    /// The rubric of the submission's edition, in which every check that was asked for exists.
    fn rubric(&self, style: Style) -> Result<Rubric> {
        let rubric = Rubric::in_edition(self.task, style.is_rust)?;
        for id in &self.only {
            rubric.find(id)?;
        }
        Ok(rubric)
    }

    /// All runs of one grading, in turn watched by a tracer on a terminal, and without one on a pipe.
    fn observe(&self, submission: &Submission) -> Result<Vec<Run>> {
        let observe = if self.task.is_tool() { session::observe } else { run::observe };
        (0..self.runs).map(|nth| observe(&self.plan(submission, nth))).collect()
    }

    /// How the `nth` run, from 0, is made. Two are enough to have each observer once, and each state of the cgroup
    /// root once; four have each of the four pairs.
    fn plan<'a>(&self, submission: &'a Submission, nth: u32) -> RunPlan<'a> {
        let (observer, stdout) = match nth % 2 {
            _ if self.task.is_tool() => (Observer::Between, StdoutKind::Pipe),
            0 => (Observer::Traced, StdoutKind::Pty),
            _ => (Observer::Frozen, StdoutKind::Pipe),
        };
        RunPlan {
            task: self.task,
            submission,
            observer,
            stdout,
            seed: self.seed.wrapping_add(u64::from(nth)),
            time_scale: self.time_scale,
            keep: self.keep,
            cpu_enabled: (nth + nth / 2) % 2 == 0,
        }
    }
}

impl Grade {
    /// The task.
    pub fn task(&self) -> Task {
        self.rubric.task
    }

    /// Marks given.
    pub fn marks(&self) -> u32 {
        self.verdicts.iter().map(|verdict| verdict.marks).sum()
    }

    /// Marks neither given nor lost.
    pub fn open(&self) -> u32 {
        self.verdicts.iter().map(|verdict| verdict.open).sum()
    }

    /// The most that could be had.
    pub fn max_marks(&self) -> u32 {
        self.verdicts.iter().map(|verdict| verdict.check.marks).sum()
    }

    /// What the grader could not take away after its runs.
    pub fn not_clean(&self) -> impl Iterator<Item = &String> {
        self.runs.iter().flat_map(|run| &run.not_clean)
    }

    /// What the submission tried that would have reached the machine under the box, each once.
    pub fn refused(&self) -> BTreeSet<&str> {
        self.runs.iter().flat_map(|run| &run.refused).map(String::as_str).collect()
    }

    /// Whether these marks can be written down: nothing undecided, nothing that could not be tried, the box gone.
    pub fn is_final(&self) -> bool {
        self.exit_code() != 4 && self.open() == 0
    }

    /// 0 all passed, 1 something lost, 4 marks not final.
    pub fn exit_code(&self) -> u8 {
        let undecided = self.verdicts.iter().any(|verdict| verdict.status == Status::Undecided);
        if undecided || self.not_clean().next().is_some() {
            4
        } else if self.marks() + self.open() < self.max_marks() {
            1
        } else if self.open() > 0 {
            // Nothing is lost, but a check could not be tried on this machine: these marks are not final.
            4
        } else {
            0
        }
    }

    /// Where the program, or a command of the tool, panicked first: FILE:LINE:COLUMN.
    fn panicked_at(&self) -> Option<&str> {
        let outputs = self.runs.iter().flat_map(Run::outputs);
        outputs.flat_map(|output| panics(&output.stderr)).map(|(place, _)| place).next()
    }

    /// What to do next, in one line.
    pub fn next(&self) -> String {
        if self.build_error.is_some() {
            return "make it build, then grade again".to_owned();
        }
        let first = |wanted: &[Status]| self.verdicts.iter().find(|verdict| wanted.contains(&verdict.status));
        // What is wrong comes before what is missing: the next lesson builds on it. What could not be tried, though all it
        // needs is there, is wrong as well.
        let is_wrong = |verdict: &&Verdict| match verdict.status {
            Status::Failed | Status::Partial => true,
            Status::Blocked => verdict.blocked_by.is_empty() && !verdict.waits_for_a_lesson(),
            _ => false,
        };
        if let Some(verdict) = self.verdicts.iter().find(is_wrong) {
            let check = &verdict.check;
            let is_absent = verdict.losses.iter().all(|loss| !loss.positive);
            let place = match (self.panicked_at().filter(|_| is_absent), &check.place) {
                (Some(place), _) => format!(", it panicked at {place}"),
                (None, Some(place)) => format!(" in {place}"),
                (None, None) => String::new(),
            };
            return format!("start with {0}{place}: {1} --explain {0}", check.id, self.again);
        }
        if let Some(verdict) = first(&[Status::NotStarted]) {
            let place = verdict.check.place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
            return match &verdict.check.lesson {
                Some(lesson) => format!("write Lesson {lesson}{place}"),
                None => "write the marked section".to_owned(),
            };
        }
        if let Some(verdict) = first(&[Status::Blocked]) {
            return format!("start with {0}: {1} --explain {0}", verdict.check.id, self.again);
        }
        if let Some(verdict) = first(&[Status::Undecided]) {
            return format!("{} is undecided: {} --runs 4 looks again", verdict.check.id, self.again);
        }
        if let Some(verdict) = first(&[Status::Skipped]) {
            let why = verdict.reason.as_deref().unwrap_or("see above");
            return format!("{} needs another machine: {why}", verdict.check.id);
        }
        match self.task() {
            Task::Task1 => "everything claimed is true; go on with task 2".to_owned(),
            Task::Task2 => "everything claimed is true; go on with task 3".to_owned(),
            Task::Task3 => "everything claimed is true; go on with task 4".to_owned(),
            Task::Task4 => "everything claimed is true".to_owned(),
        }
    }
}

/// `text` as one word of a shell's command line; nothing in it acts on a terminal.
fn word(text: &OsStr) -> String {
    let text = crate::escape::drawn(&text.to_string_lossy());
    shlex::try_quote(&text).map_or_else(|_| text.clone(), Cow::into_owned)
}

/// Where the marked sections of `task` are in the workspace at `root`: FILE:LINE by lesson, as far as it can be read.
fn places(root: &Path, task: Task) -> BTreeMap<String, String> {
    let (mut folders, mut found) = (vec![root.join(task.folder()).join("src")], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = std::fs::read_to_string(&path).unwrap_or_default();
                let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                for section in section::sections(&source).unwrap_or_default() {
                    found.insert(section.lesson.clone(), format!("{shown}:{}", section.line(&source)));
                }
            }
        }
    }
    found
}

/// How many times a submission for `task` is run by default: once by each observer.
pub fn usual_runs(task: Task) -> u32 {
    if task.is_tool() { 1 } else { 2 }
}

/// An unpredictable seed. Short, so that it can be typed again.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(SystemTime::now()) & 0xffff
}
