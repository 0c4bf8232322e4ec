//! `grade changes DIR` and `grade graft DIR INTO`: what of a submission is the student's.
//!
//! Only marked sections may differ from what was handed out. `changes` tells what else does. `graft` makes a workspace in which
//! nothing else can: this one, with the bodies of the student's sections; what is graded then is theirs and nobody's else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::section;
use crate::submission::LEFT_OUT;
use crate::transcript::drawn;
use crate::workspace::{Workspace, is_crate_root, is_source, is_workspace, read};

/// Tell what of a submission differs from this workspace, but for the bodies of marked functions
#[derive(Debug, Clone, clap::Args)]
pub struct Changes {
    /// Folder that was handed in, a Rust workspace
    dir: PathBuf,
}

/// Make a workspace of this one and the marked functions of a submission
#[derive(Debug, Clone, clap::Args)]
pub struct Graft {
    /// Folder that was handed in, a Rust workspace
    dir: PathBuf,
    /// Folder to make; it must not be there yet
    into: PathBuf,
}

impl Changes {
    /// Lists them; the exit code is 0 when there are none, else 1.
    ///
    /// # Errors
    /// [`Fault::Usage`] outside of a workspace, or when `dir` is none.
    pub fn run(&self) -> Result<u8, Fault> {
        let workspace = Workspace::here()?;
        handed_in(&self.dir)?;
        let mut changes = Vec::new();
        for path in &workspace.files {
            let (ours, theirs) = (workspace.root.join(path), self.dir.join(path));
            if !theirs.is_file() {
                changes.push(format!("missing  {}", path.display()));
            } else if !agree(path, &read(&ours)?, &read(&theirs)?) {
                changes.push(format!("changed  {}", path.display()));
            }
        }
        let is_new = |path: &PathBuf| !workspace.root.join(path).exists();
        let added = files_below(&self.dir, Path::new(""))?.into_iter().filter(is_new);
        changes.extend(added.map(|path| format!("added    {}", path.display())));
        changes.iter().for_each(|change| anstream::println!("{}", drawn(change)));
        if changes.is_empty() {
            anstream::println!("{}: only marked functions differ", self.dir.display());
        }
        Ok(u8::from(!changes.is_empty()))
    }
}

impl Graft {
    /// Makes the workspace.
    ///
    /// # Errors
    /// [`Fault::Usage`] outside of a workspace, or when `dir` is none or lacks a section; when `into` cannot be made.
    pub fn run(&self) -> Result<u8, Fault> {
        let workspace = Workspace::here()?;
        handed_in(&self.dir)?;
        let lessons = workspace.sections()?;
        workspace.copy(&self.into, |path, mut text| {
            if section::is_marked(&text) {
                let theirs = self.dir.join(path);
                let wrong = |why: String| Fault::Usage(format!("{}: {why}", theirs.display()));
                let donor = String::from_utf8(read(&theirs)?).map_err(|why| wrong(why.to_string()))?;
                text = section::with_bodies_of(&text, &donor).map_err(wrong)?;
            }
            Ok(if is_crate_root(path) { section::with_unused_allowed(&text) } else { text })
        })?;
        anstream::println!("{} functions of {} in {}", lessons.len(), self.dir.display(), self.into.display());
        Ok(0)
    }
}

fn handed_in(dir: &Path) -> Result<(), Fault> {
    match is_workspace(dir) {
        true => Ok(()),
        false => Err(Fault::Usage(format!("{} is no workspace like this one: it has other folders", dir.display()))),
    }
}

/// Whether two files are the same, as far as a student may not change them.
fn agree(path: &Path, ours: &[u8], theirs: &[u8]) -> bool {
    let texts = || Some((std::str::from_utf8(ours).ok()?, std::str::from_utf8(theirs).ok()?));
    let outside =
        || is_source(path).then(texts)?.map(|(ours, theirs)| section::agree_outside(ours, theirs) == Ok(true));
    ours == theirs || outside().unwrap_or(false)
}

/// The files below `dir/below`, by their paths below `dir`; a link is one of them, wherever it leads.
fn files_below(dir: &Path, below: &Path) -> Result<Vec<PathBuf>, Fault> {
    let folder = dir.join(below);
    let cannot = |why: std::io::Error| Fault::Usage(format!("cannot read {}: {why}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = below.join(entry.file_name());
        let is_folder = entry.file_type().map_err(cannot)?.is_dir();
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if is_folder {
            found.extend(files_below(dir, &path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
