//! `grade starter DIR`: the workspace as it is handed out, with every lesson unwritten.
//!
//! The solution is the only source: a starter is this workspace's files with the bodies of the marked sections emptied
//! ([`crate::section`]). What shows a solution in another way stays behind, and so does the history.

use std::path::PathBuf;

use crate::fault::Fault;
use crate::section::{self, Section};
use crate::workspace::{Workspace, broken, is_crate_root};

/// Make the workspace that is handed out: this one, with the bodies of the marked functions emptied
#[derive(Debug, Clone, clap::Args)]
pub struct Starter {
    /// Folder to make; it must not be there yet
    dir: PathBuf,
}

impl Starter {
    /// Makes the folder, and lists the lessons in it.
    ///
    /// # Errors
    /// [`Fault::Usage`] outside of a workspace, or when the folder cannot be made; [`Fault::Broken`] when sections and
    /// rubrics contradict each other.
    pub fn run(&self) -> Result<u8, Fault> {
        let workspace = Workspace::here()?;
        let lessons = workspace.sections()?;
        workspace.copy(&self.dir, |path, source| {
            let text = section::unwritten(&source).map_err(|why| broken(path, &why))?;
            Ok(if is_crate_root(path) { section::with_unused_allowed(&text) } else { text })
        })?;
        for (path, Section { lesson, marks, title, function, .. }) in &lessons {
            anstream::println!("{lesson}  {marks:>2} marks  {}: {function}, {title}", path.display());
        }
        anstream::println!("{} lessons to write in {}", lessons.len(), self.dir.display());
        Ok(0)
    }
}
