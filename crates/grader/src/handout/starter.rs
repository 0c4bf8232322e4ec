//! `grade starter DIR`: the workspace as it is handed out, with every lesson unwritten.
//!
//! The solution is the only source: a starter is this workspace's files with the bodies of the marked sections emptied
//! ([`crate::handout::section`]). What shows a solution in another way stays behind, and so does the history: git keeps the starter
//! from its first commit on, which is the handout.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, OrCannot, Result};
use crate::handout::edition::Edition;
use crate::handout::section::{self, Section, by_name};
use crate::handout::workspace::{Workspace, broken, is_crate_root};
use crate::report::write;

/// Make the workspace for students: this one, with the bodies of the marked sections emptied
#[derive(Debug, Clone, clap::Args)]
pub struct Starter {
    /// Folder to make; it must not be there yet
    dir: PathBuf,
    /// What students write in: Rust, or C and bash
    #[arg(long, value_enum, default_value_t)]
    edition: Edition,
}

impl Starter {
    /// Makes the folder, and lists the lessons in it.
    ///
    /// # Errors
    /// `Exit::Usage` outside of a workspace, or when the folder cannot be made; `Exit::CannotRun` when git cannot keep
    /// it; `Exit::Usage` when sections and rubrics contradict each other.
    pub fn run(&self) -> Result<u8> {
        let workspace = Workspace::of(self.edition)?;
        let lessons = workspace.sections()?;
        workspace.copy(&self.dir, |path, source| {
            let text = by_name::unwritten(path, &source).map_err(|why| broken(path, &why.reason()))?;
            Ok(if is_crate_root(path) { section::with_unused_allowed(&text) } else { text })
        })?;
        keep_in_git(&self.dir).inspect_err(|_| {
            // The first error is reported; a failed removal adds nothing.
            let _ = std::fs::remove_dir_all(&self.dir);
        })?;
        for (path, Section { lesson, marks, title, function, .. }) in &lessons {
            write(None, &format!("{lesson}  {marks:>2} marks  {}: {function}, {title}\n", path.display()))?;
        }
        write(None, &format!("{} lessons to write in {}\n", lessons.len(), self.dir.display()))?;
        Ok(0)
    }
}

/// Makes `dir` a repository with one commit, with a neutral author and without the user's git settings.
fn keep_in_git(dir: &Path) -> Result<()> {
    let commit = ["-c", "user.name=Docker-lite", "-c", "user.email=docker-lite@localhost", "commit", "--quiet"];
    let steps: [&[&str]; 3] = [
        &["init", "--quiet", "--template=", "--initial-branch=main"],
        // Whatever the workspace keeps, its .gitignore names or not.
        &["add", "--all", "--force"],
        &[&commit[..], &["--message=The handout"]].concat(),
    ];
    for step in steps {
        let mut git = Command::new("git");
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.as_encoded_bytes().starts_with(b"GIT_")) {
            git.env_remove(key);
        }
        git.arg("-C").arg(dir).args(step).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = git.output().or_cannot("run", "git")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Error::cannot_run(format!("git cannot keep {}: {}", dir.display(), why.trim())));
        }
    }
    Ok(())
}
