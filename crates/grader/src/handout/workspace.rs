//! The workspace that lessons stand in: its files, those with marked sections among them, and copies of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::handout::edition::{Edition, is_workspace};
use crate::handout::section::{Section, by_name};
use crate::rubric::Rubric;
use crate::submission::untrusted::paths_in;
use crate::task::Task;

/// Folders and files that students do not get: the zoo's programs are solutions, in several languages, and what is tested with
/// them or by writing solutions.
const STAYS_BEHIND: [&str; 5] = [
    "crates/grader/zoo",
    "crates/grader/tests/zoo.rs",
    "crates/grader/tests/starter.rs",
    "crates/nsutil/tests/veth.rs",
    "task4-services/tests/another_tool.rs",
];

/// A workspace with the lessons of all tasks.
#[derive(Debug)]
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// The files that are handed out, by their paths below it, in order.
    pub files: Vec<PathBuf>,
}

impl Workspace {
    /// The one that holds the current directory. Its files are those that git tracks.
    ///
    /// # Errors
    /// `Exit::Usage` when there is none, or git does not know it; `Exit::CannotRun` without git.
    pub fn here() -> Result<Self> {
        let here = std::env::current_dir().or_cannot("tell", "the current directory").into_usage()?;
        let root = here.ancestors().find(|folder| is_workspace(folder));
        let root = root.ok_or_else(|| Error::usage(format!("no workspace in {} or above", here.display())))?.to_owned();
        let files = tracked(&root)?;
        Ok(Self { root, files })
    }

    /// The one that holds the current directory, in whichever edition.
    ///
    /// # Errors
    /// Those of [`Workspace::here`].
    pub fn in_any_edition() -> Result<Self> {
        let here = std::env::current_dir().or_cannot("tell", "the current directory").into_usage()?;
        let is_c = |folder: &&Path| matches!(Edition::of(folder), Ok(Edition::C));
        match here.ancestors().find(is_c) {
            Some(root) => Ok(Self { files: tracked(root)?, root: root.to_owned() }),
            None => Self::here(),
        }
    }

    /// What of the one that holds the current directory is an edition.
    ///
    /// # Errors
    /// Those of [`Workspace::here`]; `Exit::Usage` when it lacks that edition, as what is handed out does.
    pub fn of(edition: Edition) -> Result<Self> {
        let here = Self::here()?;
        let root = here.root.join(edition.folder());
        match edition {
            Edition::Rust => Ok(here),
            Edition::C if root.join("Makefile").is_file() => Ok(Self { files: tracked(&root)?, root }),
            Edition::C => Err(Error::usage(format!("{} lacks the edition in C and bash", here.root.display()))),
        }
    }

    /// Its sections, by the files that they are in.
    ///
    /// # Errors
    /// `Exit::Usage` when one is not written as one, stands twice, or is worth something else than its checks say: the
    /// file and, where there is one, the line.
    pub fn sections(&self) -> Result<Vec<(PathBuf, Section)>> {
        let mut found = Vec::new();
        for path in self.files.iter().filter(|path| is_source(path)) {
            let text = String::from_utf8(read(&self.root.join(path))?).map_err(|why| broken(path, &why.to_string()))?;
            let sections = by_name::sections(path, &text).map_err(|why| broken(path, &why.reason()))?;
            found.extend(sections.into_iter().map(|section| (path.clone(), section)));
        }
        agree_with_rubrics(&self.root, &found)?;
        found.sort_by(|(_, one), (_, other)| one.lesson.cmp(&other.lesson));
        Ok(found)
    }

    /// Copies it to a folder that is not there yet, each source of a task's crate as `changed` says. Nothing of the folder
    /// is left if that fails.
    ///
    /// # Errors
    /// `Exit::Usage` when the folder is there or cannot be filled; those of `changed`.
    pub fn copy(&self, dir: &Path, mut changed: impl FnMut(&Path, String) -> Result<String>) -> Result<()> {
        fs::create_dir(dir).or_cannot("make", dir).into_usage()?;
        let copied = self.files.iter().try_for_each(|path| {
            let (from, to) = (self.root.join(path), dir.join(path));
            let bytes = match String::from_utf8(read(&from)?) {
                Ok(text) if is_source(path) => changed(path, text)?.into_bytes(),
                Ok(text) => text.into_bytes(),
                Err(binary) => binary.into_bytes(),
            };
            let mode = fs::metadata(&from).or_cannot("read", &from).into_usage()?.permissions();
            fs::create_dir_all(to.parent().unwrap_or(dir))
                .and_then(|()| fs::write(&to, bytes))
                .and_then(|()| fs::set_permissions(&to, mode))
                .or_cannot("write", &to)
                .into_usage()
        });
        if copied.is_err() {
            // The first error is reported; a failed removal adds nothing.
            let _ = fs::remove_dir_all(dir);
        }
        copied
    }
}

/// Whether a file is the root of a task's crate, or of a program that measures it.
pub fn is_crate_root(path: &Path) -> bool {
    let is_bench = || path.parent().is_some_and(|folder| folder.ends_with("bench"));
    is_source(path) && (["src/main.rs", "src/lib.rs"].iter().any(|root| path.ends_with(root)) || is_bench())
}

/// Whether a file is a source of a task's crate, or of a task in C and bash.
pub fn is_source(path: &Path) -> bool {
    let is_rust = path.extension() == Some(OsStr::new("rs"));
    let folders = || Task::ALL.iter().flat_map(|task| ["src", "bench"].map(|part| Path::new(task.folder()).join(part)));
    Edition::has_lines(path) || is_rust && folders().any(|folder| path.starts_with(folder))
}

/// Reads a file.
///
/// # Errors
/// `Exit::Usage` with its name and the reason.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).or_cannot("read", path).into_usage()
}

/// An error in the workspace's own files.
pub fn broken(path: &Path, why: &str) -> Error {
    Error::usage(format!("{}: {why}", path.display()))
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git").arg("-C").arg(root).args(["ls-files", "-z"]).output();
    let output = output.or_cannot("run", "git")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or_default();
        return Err(Error::usage(format!("git does not list the files of {}: {why}", root.display())));
    }
    let is_theirs = |path: &PathBuf| Edition::is_of_another(path);
    let stays = |path: &PathBuf| is_theirs(path) || STAYS_BEHIND.iter().any(|left| path.starts_with(left));
    let mut paths: Vec<_> = paths_in(&output.stdout).filter(|path| !stays(path)).collect();
    paths.sort();
    Ok(paths)
}

/// Every lesson of a rubric has a section with its marks, and every section has a lesson.
fn agree_with_rubrics(root: &Path, sections: &[(PathBuf, Section)]) -> Result<()> {
    let mut marks: BTreeMap<String, u32> = BTreeMap::new();
    for task in Task::ALL {
        for check in Rubric::of(task)?.checks {
            if let Some(lesson) = check.lesson {
                *marks.entry(lesson).or_insert(0) += check.marks;
            }
        }
    }
    for (path, section) in sections {
        let lesson = &section.lesson;
        let path = &place_of(root, path, lesson);
        match marks.remove(lesson) {
            Some(worth) if worth == section.marks => (),
            Some(worth) => {
                return Err(broken(path, &format!("lesson {lesson} says {} marks, its checks {worth}", section.marks)));
            }
            None => return Err(broken(path, &format!("lesson {lesson} stands twice, or no check is about it"))),
        }
    }
    match marks.keys().next() {
        Some(lesson) => Err(Error::usage(format!("checks are about lesson {lesson}, and no section is marked so"))),
        None => Ok(()),
    }
}

/// `FILE:LINE` of a lesson's heading.
fn place_of(root: &Path, path: &Path, lesson: &str) -> PathBuf {
    let text = fs::read_to_string(root.join(path)).unwrap_or_default();
    let headings = ["# Lesson", "BEGIN LESSON"].map(|words| format!("{words} {lesson} ("));
    let is_heading = |line: &str| headings.iter().any(|heading| line.contains(heading));
    let line = text.lines().zip(1..).filter(|(line, _)| is_heading(line)).map(|(_, nth): (_, u32)| nth).last();
    line.map_or_else(|| path.to_owned(), |line| PathBuf::from(format!("{}:{line}", path.display())))
}
