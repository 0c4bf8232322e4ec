//! The lessons of the workspace that one stands in, in the order in which they are taught.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::handout::edition::Edition;
use crate::handout::section::by_name;
use crate::handout::workspace::{Workspace, broken, read};
use crate::rubric::Rubric;
use crate::task::Task;

/// A lesson where a student finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// The task.
    pub task: Task,
    /// `1.a`.
    pub number: String,
    /// What it is about.
    pub title: String,
    /// What it is worth.
    pub marks: u32,
    /// `FILE:LINE`, below the workspace.
    pub place: String,
    /// The lab sheet, below the workspace.
    pub sheet: PathBuf,
    /// The checks that judge it.
    pub checks: Vec<String>,
    /// Whether the section says something else than `todo`.
    pub is_written: bool,
}

/// All lessons of `workspace`.
///
/// # Errors
/// `Exit::Usage` for sections that cannot be read.
pub fn all(workspace: &Workspace) -> Result<Vec<Lesson>> {
    let rubrics = Task::ALL.into_iter().map(Rubric::of).collect::<Result<Vec<Rubric>>>()?;
    let mut lessons = Vec::new();
    for (path, section) in workspace.sections()? {
        let rubric = rubrics.iter().find(|rubric| section.lesson.starts_with(&rubric.task.number().to_string()));
        let rubric = rubric.ok_or_else(|| Error::usage(format!("lesson {} is of no task", section.lesson)))?;
        let source =
            String::from_utf8(read(&workspace.root.join(&path))?).map_err(|why| broken(&path, &why.to_string()))?;
        let is_its = |check: &&crate::rubric::Check| check.lesson.as_ref() == Some(&section.lesson);
        let folder = path.components().next().map_or_else(PathBuf::new, |folder| PathBuf::from(folder.as_os_str()));
        lessons.push(Lesson {
            task: rubric.task,
            place: format!("{}:{}", path.display(), section.line(&source)),
            sheet: folder.join("README.md"),
            checks: rubric.checks.iter().filter(is_its).map(|check| check.id.clone()).collect(),
            is_written: by_name::is_written(&path, &section, &source.replace("\r\n", "\n")),
            number: section.lesson,
            title: section.title,
            marks: section.marks,
        });
    }
    Ok(lessons)
}

/// The folder of a task in a workspace of an edition.
pub fn folder(root: &Path, edition: Edition, task: Task) -> PathBuf {
    match edition {
        Edition::Rust => root.join(task.folder()),
        Edition::C => root.join(task.id()),
    }
}
