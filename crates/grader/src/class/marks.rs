//! The class's marks: what the tables and pages are made from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::folder::Folder;
use super::handin::Participant;
use super::kept;
use super::roster::Student;
use super::stored::{StoredCheck, StoredReport};
use crate::error::Result;
use crate::judge::Status;
use crate::rubric::Rubric;
use crate::task::Task;

/// The marks of all students.
#[derive(Debug)]
pub struct Marks {
    /// The tasks, each with the most marks it gives.
    pub tasks: Vec<(Task, u32)>,
    /// One row a student.
    pub rows: Vec<StudentRow>,
}

/// One student's.
#[derive(Debug)]
pub struct StudentRow {
    /// Name of the student's folder.
    pub id: String,
    /// May be empty.
    pub name: String,
    /// The participant in Moodle.
    pub moodle: Option<Participant>,
    /// Whether there is anything to grade, or why not.
    pub problem: Option<String>,
    /// Whether the problem keeps it from being graded.
    pub is_refused: bool,
    /// One for each task.
    pub tasks: Vec<TaskCell>,
    /// What differs from the handout where it may not.
    pub changes: Vec<String>,
}

/// One student's marks for one task.
#[derive(Debug)]
pub struct TaskCell {
    /// The task.
    pub task: Task,
    /// The most marks it gives.
    pub max: u32,
    /// What is kept of it; none when nothing was handed in or it was not graded.
    pub report: Option<StoredReport>,
}

/// How a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellState {
    /// The marks are final.
    Final,
    /// Some are not decided.
    Open,
    /// There is nothing for this task: no marks.
    Missing,
    /// It does not build: no marks.
    NotBuilt,
    /// It could not be graded.
    NotGraded,
}

impl TaskCell {
    /// How it stands.
    pub fn state(&self) -> CellState {
        match &self.report {
            None => CellState::Missing,
            Some(report) if report.missing => CellState::Missing,
            Some(report) if report.error.is_some() => CellState::NotGraded,
            Some(report) if report.build_error.is_some() => CellState::NotBuilt,
            Some(report) if !report.extra_data.final_marks => CellState::Open,
            Some(_) => CellState::Final,
        }
    }

    /// The marks that are sure.
    pub fn score(&self) -> u32 {
        self.report.as_ref().map_or(0, |report| report.score)
    }

    /// Why there are no marks, or none that are final, in words.
    pub fn why(&self) -> String {
        let Some(report) = &self.report else { return "not handed in".to_owned() };
        match self.state() {
            CellState::Final => String::new(),
            CellState::Missing => "not handed in".to_owned(),
            CellState::NotGraded => format!("not graded: {}", report.error.clone().unwrap_or_default()),
            CellState::NotBuilt => format!("does not build: {}", report.build_error.clone().unwrap_or_default()),
            CellState::Open => {
                let [least, most] = report.extra_data.score_range;
                format!("{least} to {most} of {}, not all could be decided", self.max)
            }
        }
    }

    /// Its checks.
    pub fn checks(&self) -> &[StoredCheck] {
        self.report.as_ref().map_or(&[], |report| &report.tests)
    }
}

impl StudentRow {
    /// The sum over all tasks.
    pub fn total(&self) -> u32 {
        self.tasks.iter().map(TaskCell::score).sum()
    }

    /// Whether these marks may be given.
    pub fn is_final(&self) -> bool {
        !self.is_refused
            && self.tasks.iter().all(|cell| !matches!(cell.state(), CellState::Open | CellState::NotGraded))
    }

    /// What an instructor should know, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let mut all: Vec<String> = self.problem.iter().chain(&self.changes).cloned().collect();
        for cell in &self.tasks {
            let why = cell.why();
            let is_told = cell.state() == CellState::Missing && self.problem.is_some();
            if !why.is_empty() && !is_told {
                all.push(format!("{}: {why}", cell.task));
            }
            let report = cell.report.iter();
            let told = report.flat_map(|report| report.notes.iter().chain(&report.refused));
            all.extend(told.map(|note| format!("{}: {note}", cell.task)));
        }
        all
    }
}

/// How often one check was passed, and what was seen first where it was lost.
#[derive(Debug)]
pub struct Rate<'a> {
    /// The task.
    pub task: Task,
    /// The check, as one of the reports has it.
    pub check: &'a StoredCheck,
    /// How many passed it.
    pub passed: usize,
    /// How many were judged by it.
    pub of: usize,
    /// What was seen where it was lost, and how often.
    seen: BTreeMap<&'a str, usize>,
}

impl Rate<'_> {
    /// What was seen most often where it was lost, and how often.
    pub fn commonest(&self) -> Option<(&str, usize)> {
        self.seen.iter().map(|(seen, count)| (*seen, *count)).max_by_key(|(_, count)| *count)
    }
}

impl Marks {
    /// The sum of what all tasks give at most.
    pub fn max(&self) -> u32 {
        self.tasks.iter().map(|(_, max)| max).sum()
    }

    /// Whether all marks are final.
    pub fn is_final(&self) -> bool {
        self.rows.iter().all(StudentRow::is_final)
    }

    /// How often each check was passed, the hardest first.
    pub fn rates(&self) -> Vec<Rate<'_>> {
        let mut rates: BTreeMap<(Task, &str), Rate<'_>> = BTreeMap::new();
        for cell in self.rows.iter().flat_map(|row| &row.tasks) {
            for check in cell.checks() {
                let new = || Rate { task: cell.task, check, passed: 0, of: 0, seen: BTreeMap::new() };
                let key = (cell.task, check.extra_data.id.as_str());
                let rate = rates.entry(key).or_insert_with(new);
                match check.extra_data.verdict {
                    Status::Undecided | Status::Skipped => continue,
                    Status::Passed => rate.passed += 1,
                    Status::Failed | Status::Partial | Status::Blocked | Status::NotStarted => {
                        if let Some(observed) = check.extra_data.observed.as_deref() {
                            *rate.seen.entry(observed).or_default() += 1;
                        }
                        if check.extra_data.hints.len() > rate.check.extra_data.hints.len() {
                            rate.check = check;
                        }
                    }
                }
                rate.of += 1;
            }
        }
        let mut rates: Vec<Rate<'_>> = rates.into_values().filter(|rate| rate.of > 0).collect();
        rates.sort_by_key(|rate| (rate.passed * 1000 / rate.of, rate.task));
        rates
    }

    /// The result in a few lines.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (nth, (task, max)) in self.tasks.iter().enumerate() {
            let mut scores: Vec<u32> =
                self.rows.iter().filter_map(|row| row.tasks.get(nth)).map(TaskCell::score).collect();
            scores.sort_unstable();
            let median = scores.get(scores.len() / 2).copied().unwrap_or_default();
            text += &format!("{task}: median {median} of {max}\n");
        }
        let open: Vec<&StudentRow> = self.rows.iter().filter(|row| !row.is_final()).collect();
        text += &format!("{} students, {} with a final report\n", self.rows.len(), self.rows.len() - open.len());
        for row in open {
            let why = row.remarks().first().cloned().unwrap_or_default();
            text += &format!("  {}: {}\n", row.id, crate::escape::drawn(&why));
        }
        text
    }

    /// How long all of it took, one after the other.
    pub fn time(&self) -> Duration {
        let reports = self.rows.iter().flat_map(|row| &row.tasks).filter_map(|cell| cell.report.as_ref());
        Duration::from_secs_f64(reports.map(|report| report.execution_time).sum())
    }
}

/// Reads what is kept of these students' tasks.
///
/// # Errors
/// `Exit::Usage` when a report cannot be read.
pub fn gather(folder: &Folder, students: &[Student], tasks: &[Task]) -> Result<Marks> {
    let tasks: Vec<(Task, u32)> =
        tasks.iter().map(|task| Ok((*task, Rubric::of(*task)?.max_marks()))).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for student in students {
        let mut cells = Vec::new();
        for (task, max) in &tasks {
            let report = match student.handin.as_ref().filter(|_| !student.is_refused) {
                Some(_) => StoredReport::read(&folder.path.join(kept(&student.id, *task)).join("report.json"))?,
                None => None,
            };
            let max = report.as_ref().and_then(|report| report.max_score).unwrap_or(*max);
            cells.push(TaskCell { task: *task, max, report });
        }
        rows.push(StudentRow {
            id: student.id.clone(),
            name: student.name.clone(),
            moodle: student.handin.as_ref().and_then(|handin| handin.moodle.clone()),
            problem: student.problem.clone(),
            is_refused: student.is_refused,
            tasks: cells,
            changes: Vec::new(),
        });
    }
    Ok(Marks { tasks, rows })
}
