//! Grades all tasks of all students, `--jobs` of them at once.
//!
//! A tracer must be the thread that waits, and it waits for whatever child it has, so each task of each student is a process
//! of its own: `grade taskN`. Its files are written in `DIR/kept/ROLL/taskN.part`, which is renamed when the process
//! has ended, so what is in `taskN` is whole. What decides the result (the hand-in, this program, the options) is a hash in
//! `taskN/stamp`; where it is the same as before, nothing runs.

pub(super) mod child;
pub(super) mod progress;
mod queue;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::roster::Student;
use super::stamp::Stamp;
use super::stored::StoredReport;
use super::{Class, Options, kept};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::report::{Format, NotGraded};
use crate::task::Task;

use child::Child;
pub(super) use child::Children;
pub(super) use progress::Progress;
use queue::Queue;

/// One task of one student.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The student's folder.
    pub id: String,
    /// The task.
    pub task: Task,
    /// What was handed in.
    pub submission: PathBuf,
    /// Where its files are, below the folder of results.
    pub place: PathBuf,
    /// The hash of all that decides the result.
    pub stamp: String,
}

/// How a child's end is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its report holds.
    Done,
    /// Something was not decided, or the grader itself failed: worth a second try.
    Doubtful,
}

/// Grades every task of every student whose result is not there yet.
///
/// # Errors
/// `Exit::CannotRun` when this machine cannot grade, `Exit::Interrupted` after a signal, `Exit::Usage` when the folder
/// cannot be written.
pub fn all(class: &Class, folder: &Folder, students: &[Student]) -> Result<()> {
    let children = Children::new()?;
    let options = class.options()?;
    let wanted = wanted(class, folder, students)?;
    let jobs: Vec<Job> = match options.rejudge {
        true => wanted.into_iter().filter(|job| folder.path.join(&job.place).join("runs").is_dir()).collect(),
        false => wanted.into_iter().filter(|job| !is_done(folder, job)).collect(),
    };
    let (progress, queue) = (Progress::new(jobs.len()), Queue::new(jobs));
    let error: Mutex<Option<Error>> = Mutex::new(None);
    children.watched(|| {
        std::thread::scope(|scope| {
            for _ in 0..class.jobs {
                scope.spawn(|| {
                    while let Some(job) = queue.take() {
                        let done = graded(&options, folder, &job, &children);
                        queue.give_back(&job);
                        match done {
                            Ok(report) => progress.done(&job, &report),
                            Err(why) => {
                                queue.close();
                                children.end();
                                let mut error = error.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                                // What came first is the cause of the others.
                                error.get_or_insert(why);
                            }
                        }
                    }
                });
            }
        });
    });
    progress.end();
    match (children.signal(), error.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())) {
        (Some(signal), _) => Err(Error::interrupted(signal)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(()),
    }
}

/// What there is to be graded, done or not.
///
/// # Errors
/// `Exit::Usage` when the kit cannot be read, or a result not be given its place again.
pub fn wanted(class: &Class, folder: &Folder, students: &[Student]) -> Result<Vec<Job>> {
    let program = std::env::current_exe().map_err(|why| Error::broken(format!("its own program: {why}")))?;
    let mut base = Stamp::default().tree(&program).or_cannot("read", &program).into_usage()?;
    if let Some(kit) = &class.kit {
        base = base.tree(kit).or_cannot("read", kit).into_usage()?;
    }
    base = base.word([class.hint]).word(class.time_scale.to_bits().to_le_bytes());
    if class.place == Some(super::Where::Vm) {
        base = base.word("vm");
    }
    let mut jobs = Vec::new();
    for student in students.iter().filter(|student| !student.is_refused) {
        let Some(handin) = &student.handin else { continue };
        // An unreadable hand-in is reported by the process that grades it; the others go on.
        let whole = base.clone().tree(&handin.path).unwrap_or_else(|_| base.clone().word("unreadable"));
        for task in class.tasks() {
            jobs.push(Job {
                id: student.id.clone(),
                task,
                submission: handin.path.clone(),
                place: kept(&student.id, task),
                stamp: whole.clone().word(task.id()).end(),
            });
        }
    }
    jobs.iter().try_for_each(|job| take_back(folder, job))?;
    Ok(jobs)
}

/// Gives a result its place again that an interruption kept from being replaced; removes it where it was replaced.
fn take_back(folder: &Folder, job: &Job) -> Result<()> {
    let place = folder.path.join(&job.place);
    let old = place.with_extension("old");
    match (old.exists(), place.exists()) {
        (false, _) => Ok(()),
        (true, false) => fs::rename(&old, &place).or_cannot("rename", &old).into_usage(),
        (true, true) => fs::remove_dir_all(&old).or_cannot("remove the folder", &old).into_usage(),
    }
}

/// Whether a result of this very job is kept.
pub fn is_done(folder: &Folder, job: &Job) -> bool {
    is_whole(&folder.path.join(&job.place), job)
}

/// Whether `place` holds the whole result of this very job.
pub fn is_whole(place: &Path, job: &Job) -> bool {
    fs::read_to_string(place.join("stamp")).is_ok_and(|stamp| stamp == job.stamp) && place.join("report.json").exists()
}

/// Grades one task of one student and keeps the result.
fn graded(options: &Options, folder: &Folder, job: &Job, children: &Children) -> Result<StoredReport> {
    let place = folder.path.join(&job.place);
    let part = place.with_extension("part");
    if let Some(parent) = part.parent() {
        fs::create_dir_all(parent).or_cannot("make the folder", parent).into_usage()?;
    }
    fill(options, job, &part, &place, children)?;
    replace(&part, &place)
}

/// Makes the folder `part`, and in it the result of one task of one student: tried twice where the first time leaves a doubt.
/// `old` is where an earlier result is, if there is one. The folder around `part` must be there.
///
/// # Errors
/// Those of [`Child::run`]; `Exit::Usage` when `part` cannot be written.
pub fn fill(options: &Options, job: &Job, part: &Path, old: &Path, children: &Children) -> Result<()> {
    for is_last in [false, true] {
        if part.exists() {
            fs::remove_dir_all(part).or_cannot("remove the folder", part).into_usage()?;
        }
        fs::create_dir(part).or_cannot("make the folder", part).into_usage()?;
        if options.rejudge {
            link_files(&old.join("runs"), &part.join("runs"))?;
        }
        let ended = Child { options, job, part, old }.run(children)?;
        if ended == Ended::Done || is_last || options.rejudge {
            break;
        }
    }
    if !part.join("report.json").exists() {
        // The second try failed as well: that is what the report says.
        let why = Error::broken(format!("no report after two tries: {}", read(&part.join("stderr")).trim()));
        tell_not_graded(part, job, &why)?;
    }
    let stamp = if options.rejudge { read(&old.join("stamp")) } else { job.stamp.clone() };
    fs::write(part.join("stamp"), stamp).or_cannot("write", part.join("stamp")).into_usage()
}

/// Writes in `part` the report of one that was not graded.
///
/// # Errors
/// `Exit::Usage` when it cannot be written.
pub fn tell_not_graded(part: &Path, job: &Job, error: &Error) -> Result<()> {
    let what = NotGraded { task: job.task, submission: Some(&job.submission), error };
    let report = part.join("report.json");
    fs::write(&report, Format::Json.render_not_graded(&what)?).or_cannot("write", &report).into_usage()
}

/// Puts the result in `part` in its place. At every moment one whole result is there: the old one goes last, and is taken back
/// where the new one did not come.
///
/// # Errors
/// `Exit::Usage` when a folder cannot be renamed or the report not be read.
pub fn replace(part: &Path, place: &Path) -> Result<StoredReport> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).or_cannot("make the folder", parent).into_usage()?;
    }
    let old = place.with_extension("old");
    if place.exists() {
        fs::rename(place, &old).or_cannot("rename", place).into_usage()?;
    }
    fs::rename(part, place).or_cannot("rename", part).into_usage()?;
    if old.exists() {
        fs::remove_dir_all(&old).or_cannot("remove the folder", &old).into_usage()?;
    }
    let report = place.join("report.json");
    StoredReport::read(&report)?.ok_or_else(|| Error::broken(format!("{} went away", report.display())))
}

/// Gives the files of a folder a second name in another: the records stay where they are until the new result is whole.
fn link_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).or_cannot("make the folder", to).into_usage()?;
    for entry in fs::read_dir(from).or_cannot("read", from).into_usage()? {
        let entry = entry.or_cannot("read", from).into_usage()?;
        fs::hard_link(entry.path(), to.join(entry.file_name())).or_cannot("link", entry.path()).into_usage()?;
    }
    Ok(())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
