//! Finds the program of a task in a hand-in.
//!
//! The course wants `taskN/NAME`. Real hand-ins come with a folder around them, flat, in capital letters, or with the `(1)`
//! that a browser adds. So every file of the task's name is a candidate, wherever it lies. One candidate is the program, and
//! the report says where it was found; two that differ are an error that names both, since the grader cannot know which
//! one the student means.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{LEFT_OUT, ProgramKind, name_of};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::task::Task;

/// How many folders deep, and how many entries, are looked at.
const DEEPEST: usize = 6;
const MOST_ENTRIES: usize = 20_000;

/// A program of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProgram {
    /// The folder that it lies in.
    pub dir: PathBuf,
    /// Its file's name, which need not be spelt as the task has it.
    pub file: String,
    /// What kind it is.
    pub program: ProgramKind,
}

impl FoundProgram {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.file)
    }

    /// The name that the file has in the box.
    pub fn proper_name(&self, task: Task) -> String {
        format!("{}{}", name_of(task), self.program.ending())
    }
}

/// The program of `task` below `root`; none when there is none. Says in `notes` when it did not lie where the course wants it.
///
/// # Errors
/// `Exit::Usage` when two differ, or there is too much to look through.
pub fn program(root: &Path, task: Task, notes: &mut Vec<String>) -> Result<Option<FoundProgram>> {
    let mut all = Vec::new();
    let mut entries = 0;
    walk(root, task, 0, &mut entries, &mut all)?;
    // What lies in another task's folder is that task's business: an orchestrator has a copy of the tool beside it.
    let elsewhere = |found: &FoundProgram| task_of(&found.dir).is_some_and(|of| of != task);
    if !all.iter().all(elsewhere) {
        all.retain(|found| !elsewhere(found));
    }
    all.sort_by_key(|found| (found.dir.components().count(), found.path()));
    let Some(first) = all.first().cloned() else { return Ok(None) };
    let shown = |found: &FoundProgram| found.path().strip_prefix(root).unwrap_or(&found.dir).display().to_string();
    let bytes = |found: &FoundProgram| fs::read(found.path()).ok();
    if let Some(other) = all.iter().skip(1).find(|other| bytes(other) != bytes(&first)) {
        return Err(Error::usage(format!(
            "two programs for {task} in {}: {} and {}; name the one to grade with --submission",
            root.display(),
            shown(&first),
            shown(other)
        )));
    }
    if let Some(copy) = all.get(1) {
        notes.push(format!("{} is there twice, the same bytes: also {}", shown(&first), shown(copy)));
    }
    let proper = first.proper_name(task);
    let usual = [format!("{}/{proper}", task.id()), format!("{}/{proper}", task.folder()), proper];
    let shown_first = shown(&first);
    let around = usual.iter().find_map(|usual| shown_first.strip_suffix(usual.as_str())).filter(|it| it.ends_with('/'));
    if let Some(around) = around {
        notes.push(format!("found in the folder {around}"));
    } else if !usual.contains(&shown_first) {
        notes.push(format!("{} was taken for {}", shown(&first), usual.first().map_or("", String::as_str)));
    }
    Ok(Some(first))
}

/// The program that a file is, when it is named itself.
pub fn named(file: &Path, task: Task) -> Option<FoundProgram> {
    let (dir, name) = (file.parent()?, file.file_name()?.to_str()?);
    let program = kind_of(name, task, || is_executable(file))?;
    Some(FoundProgram { dir: dir.to_owned(), file: name.to_owned(), program })
}

/// The task whose folder this is.
pub fn task_of(folder: &Path) -> Option<Task> {
    let name = folder.file_name()?.to_str()?.to_ascii_lowercase();
    let is_its = |task: &Task| name == task.id() || name == task.folder() || plain(&name) == plain(task.id());
    Task::ALL.into_iter().find(is_its)
}

/// A name without what people put between its parts: `task 1`, `Task_1`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

fn walk(folder: &Path, task: Task, depth: usize, entries: &mut usize, all: &mut Vec<FoundProgram>) -> Result<()> {
    let mut here = Vec::new();
    for entry in fs::read_dir(folder).or_cannot("read", folder).into_usage()? {
        let entry = entry.or_cannot("read", folder).into_usage()?;
        *entries += 1;
        if *entries > MOST_ENTRIES {
            let what = format!("{} holds more than {MOST_ENTRIES} files", folder.display());
            return Err(Error::usage(format!("{what}: name the folder of one submission")));
        }
        let (kind, name) = (entry.file_type().or_cannot("read", folder).into_usage()?, entry.file_name());
        let Some(name) = name.to_str() else { continue };
        // Also what macOS puts beside each file, under its name with `._` before it.
        let is_left_out = name.starts_with('.') || name == "__MACOSX" || LEFT_OUT.contains(&name);
        if kind.is_dir() && !is_left_out && depth < DEEPEST {
            walk(&entry.path(), task, depth + 1, entries, all)?;
        } else if kind.is_file() && !is_left_out {
            if let Some(program) = kind_of(name, task, || is_executable(&entry.path())) {
                here.push(FoundProgram { dir: folder.to_owned(), file: name.to_owned(), program });
            }
        }
    }
    // A source wins over what was compiled from it.
    if let Some(best) = here.iter().map(|found| found.program).min() {
        all.extend(here.into_iter().filter(|found| found.program == best));
    }
    Ok(())
}

/// The kind of program that a file of this name is for `task`; none when the name is another one.
fn kind_of(name: &str, task: Task, is_executable: impl Fn() -> bool) -> Option<ProgramKind> {
    let lower = name.to_ascii_lowercase();
    let (stem, program) = [ProgramKind::C, ProgramKind::Bash, ProgramKind::Python]
        .into_iter()
        .find_map(|program| Some((lower.strip_suffix(program.ending())?, program)))
        .unwrap_or((&lower, ProgramKind::Executable));
    // `conductor (1).sh` and `conductor(1).sh` are a second download of the same file.
    let stem = match stem.strip_suffix(')').and_then(|stem| stem.rsplit_once('(')) {
        Some((stem, number)) if number.parse::<u8>().is_ok() => stem.trim_end(),
        _ => stem,
    };
    let is_it = plain(stem) == plain(name_of(task));
    (is_it && (program != ProgramKind::Executable || is_executable())).then_some(program)
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], task: Task) -> (Result<Option<FoundProgram>>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut notes = Vec::new();
        let found = program(dir.path(), task, &mut notes);
        (found, notes)
    }

    fn path_of(files: &[(&str, &str)], task: Task) -> (String, Vec<String>) {
        let (found, notes) = found(files, task);
        let found = found.unwrap().unwrap();
        let folder = found.dir.file_name().unwrap().to_str().unwrap().to_owned();
        (format!("{folder}/{}", found.file), notes)
    }

    #[test]
    fn the_course_layout_needs_no_word() {
        let (path, notes) = path_of(&[("task1/namespace_prog.c", "x"), ("task3/conductor.sh", "y")], Task::Task1);
        assert_eq!((path.as_str(), notes.len()), ("task1/namespace_prog.c", 0));
    }

    #[test]
    fn folders_around_letter_case_and_a_second_download_are_found_and_told() {
        for (given, task) in [
            ("x/Namespace_Prog.C", Task::Task1),
            ("Task 3/Conductor (1).sh", Task::Task3),
            ("task4/service_orchestrator.sh", Task::Task4),
        ] {
            let (path, notes) = path_of(&[(given, "x")], task);
            assert!(given.ends_with(&path), "{path}");
            assert!(notes[0].starts_with(&format!("{given} was taken for task")), "{notes:?}");
        }
    }

    #[test]
    fn a_folder_around_is_told_by_its_name() {
        let (path, notes) = path_of(&[("24m0001_assignment3/sub/task1/namespace_prog.c", "x")], Task::Task1);
        assert_eq!(
            (path.as_str(), notes),
            ("task1/namespace_prog.c", vec!["found in the folder 24m0001_assignment3/sub/".to_owned()])
        );
    }

    #[test]
    fn two_that_differ_are_an_error_that_names_both_and_two_alike_are_one() {
        let both = [("task2/simple_container.sh", "a"), ("backup/simple_container.sh", "b")];
        let why = found(&both, Task::Task2).0.unwrap_err().to_string();
        assert!(why.contains("backup/simple_container.sh and task2/simple_container.sh"), "{why}");
        let alike = [("task2/simple_container.sh", "a"), ("old/x/simple_container.sh", "a")];
        let (path, notes) = path_of(&alike, Task::Task2);
        assert_eq!(path, "task2/simple_container.sh");
        assert!(notes[0].contains("also old/x/simple_container.sh"), "{notes:?}");
    }

    #[test]
    fn a_copy_in_another_tasks_folder_and_what_macos_adds_are_no_candidates() {
        let files = [
            ("task3/conductor.sh", "a"),
            ("task4/conductor.sh", "b"),
            ("__MACOSX/task3/conductor.sh", "c"),
            ("task3/._conductor.sh", "d"),
        ];
        assert_eq!(path_of(&files, Task::Task3).0, "task3/conductor.sh");
    }
}
