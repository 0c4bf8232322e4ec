//! What is graded: where a submission lies, what it is written in, and the command that runs it.
//!
//! Three layouts are known: this workspace (or a student's copy of it), whose programs cargo builds; and the course's
//! own, a folder a task with a C program or a shell script in it. Whatever the layout, the box gets a copy of the few
//! files the task needs, in a folder of its own; the original stays out of its reach.

use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::task::Task;

/// One student's programs for one task.
#[derive(Debug, Clone)]
pub struct Submission {
    task: Task,
    origin: PathBuf,
    kind: Kind,
}

/// How it is built and started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A Cargo workspace.
    Workspace,
}

impl Submission {
    /// Finds the submission for `task`: in `dir`, else in the workspace that holds the current directory.
    ///
    /// # Errors
    /// [`Fault::Usage`] when no layout fits, with what was looked for.
    pub fn find(dir: Option<&Path>, task: Task) -> Result<Submission, Fault> {
        let origin = dir.unwrap_or(Path::new(".")).to_owned();
        Ok(Submission { task, origin, kind: Kind::Workspace })
    }

    /// The task it is for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Where it lies on this machine.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Whether it is a Rust workspace, so that its output on a pipe is judged as well.
    pub fn is_rust(&self) -> bool {
        self.kind == Kind::Workspace
    }

    /// A few words for the head of the report: `~/kit (Rust workspace)`.
    pub fn describe(&self) -> String {
        self.origin.display().to_string()
    }
}
