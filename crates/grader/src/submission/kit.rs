//! The files of the handout that a hand-in need not bring: the program that runs in task 2's container, the recipe of
//! task 3's image, the services of task 4.
//!
//! The course's own collection script takes five files, those with marked sections. All else is the handout's, so the grader
//! brings it: its own, written for this, or the course's, which `--kit DIR` names. A file of the kit has no marked
//! section: a hand-in that brings another version of one is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{bytes_of, collect};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::sandbox::{FileKind, SandboxFile};
use crate::task::Task;

/// The files that have marked sections: those that a student writes.
pub const STUDENTS: [&str; 5] =
    ["namespace_prog.c", "simple_container.sh", "conductor.sh", "config.sh", "service-orchestrator.sh"];

/// The grader's own kit: task, path in the task's folder, text, permissions.
const OWN: [(Task, &str, &str, u32); 7] = [
    (Task::Task2, "container_prog.c", include_str!("../../../../editions/c/task2/container_prog.c"), 0o644),
    (Task::Task3, CONDUCTORFILE, include_str!("../../kit/Conductorfile"), 0o644),
    (
        Task::Task4,
        "counter-service/counter-service.c",
        include_str!("../../../../editions/c/task4/counter-service/counter-service.c"),
        0o644,
    ),
    (
        Task::Task4,
        "counter-service/Makefile",
        include_str!("../../../../editions/c/task4/counter-service/Makefile"),
        0o644,
    ),
    (Task::Task4, "counter-service/run.sh", include_str!("../../../../editions/c/task4/counter-service/run.sh"), 0o755),
    (
        Task::Task4,
        "external-service/app.py",
        include_str!("../../../../editions/c/task4/external-service/app.py"),
        0o644,
    ),
    (
        Task::Task4,
        "external-service/run.sh",
        include_str!("../../../../editions/c/task4/external-service/run.sh"),
        0o755,
    ),
];
/// The newer edition's recipe of an image.
const CONDUCTORFILE: &str = "Conductorfile";

/// A kit.
#[derive(Debug, Clone, Default)]
pub enum Kit {
    /// The grader's own.
    #[default]
    Own,
    /// The course's, by its folder.
    Course(PathBuf),
}

impl Kit {
    /// The kit in `dir`, or the grader's own.
    ///
    /// # Errors
    /// `Exit::Usage` when it is no folder.
    pub fn open(dir: Option<&Path>) -> Result<Kit> {
        let Some(dir) = dir else { return Ok(Kit::Own) };
        let dir = fs::canonicalize(dir).or_cannot("open", dir).into_usage()?;
        if dir.is_dir() { Ok(Kit::Course(dir)) } else { Err(Error::usage(format!("{} is no folder", dir.display()))) }
    }

    /// Completes `files`, the folder of `task`, and tells what was added or replaced.
    ///
    /// # Errors
    /// `Exit::Usage` when the course's kit cannot be read.
    pub fn complete(&self, task: Task, files: &mut Vec<SandboxFile>, notes: &mut Vec<String>) -> Result<()> {
        let mut kit = match self {
            Kit::Own => own(task),
            Kit::Course(dir) => of_course(dir, task)?,
        };
        if matches!(self, Kit::Own) {
            kit.retain(|file| file.path != Path::new(CONDUCTORFILE) || speaks_of(files, CONDUCTORFILE));
            // A service that was handed in is not completed from another one's files.
            let has_folder = |path: &Path| {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                folder.is_some_and(|folder| files.iter().any(|file| file.path.starts_with(folder)))
            };
            let (mut theirs, missing): (Vec<_>, Vec<_>) = kit.into_iter().partition(|file| has_folder(&file.path));
            theirs
                .retain(|given| !files.iter().any(|file| file.path == given.path && !differ(&file.what, &given.what)));
            let mut folders: Vec<String> =
                theirs.iter().filter_map(|file| Some(file.path.parent()?.display().to_string())).collect();
            folders.dedup();
            not_compared(folders, notes);
            kit = missing;
        }
        let (mut added, mut replaced, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for given in kit {
            let name = given.path.display().to_string();
            // A compiled program stands for its source.
            let compiled = given.path.with_extension("");
            let is_program = given.path == Path::new("container_prog.c");
            match files.iter_mut().find(|file| file.path == given.path || is_program && file.path == compiled) {
                None => {
                    added.push(name);
                    files.push(given);
                }
                Some(theirs) if !differ(&theirs.what, &given.what) => {}
                Some(theirs) if matches!(self, Kit::Own) => kept.push(theirs.path.display().to_string()),
                Some(theirs) => {
                    replaced.push(name);
                    *theirs = given;
                }
            }
        }
        not_compared(kept, notes);
        if !added.is_empty() {
            notes.push(format!("added from the kit, not handed in: {}", folded(&added)));
        }
        if !replaced.is_empty() {
            let why = "has no marked section and differs from the kit's, which was used";
            notes.push(format!("{} {why}", folded(&replaced)));
        }
        Ok(())
    }
}

fn not_compared(names: Vec<String>, notes: &mut Vec<String>) {
    if !names.is_empty() {
        notes.push(format!("used as handed in, not compared with the course's (--kit DIR): {}", names.join(", ")));
    }
}

fn own(task: Task) -> Vec<SandboxFile> {
    let ours = OWN.iter().filter(|(of, ..)| *of == task);
    let file = |(_, path, text, mode): &(Task, &str, &str, u32)| SandboxFile {
        path: PathBuf::from(path),
        what: FileKind::File { bytes: text.as_bytes().to_vec(), mode: *mode },
    };
    ours.map(file).collect()
}

/// The files of the course's kit for a task, but for those that students write.
fn of_course(dir: &Path, task: Task) -> Result<Vec<SandboxFile>> {
    let folder = dir.join(task.id());
    let mut files = Vec::new();
    collect(if folder.is_dir() { &folder } else { dir }, Path::new(""), &mut files, &mut 0)?;
    let is_students = |file: &SandboxFile| STUDENTS.iter().any(|name| file.path == Path::new(name));
    files.retain(|file| !is_students(file) && !matches!(file.what, FileKind::Folder));
    Ok(files)
}

/// Whether a script of `files` has this word.
fn speaks_of(files: &[SandboxFile], word: &str) -> bool {
    let has = |file: &SandboxFile| bytes_of(file).is_some_and(|bytes| String::from_utf8_lossy(bytes).contains(word));
    files.iter().filter(|file| file.path.extension().is_some_and(|ending| ending == "sh")).any(has)
}

/// Whether two files have other contents, the ends of lines being all the same.
fn differ(one: &FileKind, other: &FileKind) -> bool {
    let text = |what: &FileKind| match what {
        FileKind::File { bytes, .. } => Some(bytes.iter().filter(|byte| **byte != b'\r').copied().collect::<Vec<u8>>()),
        _ => None,
    };
    text(one) != text(other)
}

/// The names, those of one folder as that folder.
fn folded(names: &[String]) -> String {
    let mut folded: Vec<String> = Vec::new();
    for name in names {
        let name = name.split_once('/').map_or(name.clone(), |(folder, _)| format!("{folder}/"));
        if !folded.contains(&name) {
            folded.push(name);
        }
    }
    folded.join(", ")
}
