//! `grade changes DIR` and `grade graft DIR INTO`: the student's own part of a submission.
//!
//! Only marked sections may differ from what was handed out. `changes` tells what else does. `graft` makes a workspace in which
//! nothing else can: this one, with the bodies of the student's sections. So nothing but the student's lessons is graded.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::escape::drawn;
use crate::handout::edition::Edition;
use crate::handout::section::{self, by_name};
use crate::handout::workspace::{Workspace, broken, is_crate_root, is_source, read};
use crate::report::write;
use crate::submission::untrusted::UntrustedFolder;

/// List the differences between a submission and this workspace, except in the bodies of marked sections
#[derive(Debug, Clone, clap::Args)]
pub struct Changes {
    /// Folder that was handed in
    dir: PathBuf,
}

/// Make a workspace of this one and the marked sections of a submission
#[derive(Debug, Clone, clap::Args)]
pub struct Graft {
    /// Folder that was handed in
    dir: PathBuf,
    /// Folder to make; it must not be there yet
    into: PathBuf,
}

impl Changes {
    /// Lists them; the exit code is 0 when there are none, else 1.
    ///
    /// # Errors
    /// `Exit::Usage` outside of a workspace, or when `dir` is none.
    pub fn run(&self) -> Result<u8> {
        let changes = between(&Workspace::of(Edition::of(&self.dir)?)?, &self.dir)?;
        changes.iter().try_for_each(|change| write(None, &format!("{}\n", drawn(change))))?;
        if changes.is_empty() {
            write(None, &format!("{}: only marked sections differ\n", self.dir.display()))?;
        }
        Ok(u8::from(!changes.is_empty()))
    }
}

/// What of a submission differs where it may not, a line each.
///
/// # Errors
/// Those of reading either; `Exit::Usage` when `dir` is of no edition.
pub fn between(workspace: &Workspace, dir: &Path) -> Result<Vec<String>> {
    let edition = Edition::of(dir)?;
    let theirs = UntrustedFolder::open(dir)?;
    let mut changes = Vec::new();
    for path in &workspace.files {
        changes.extend(change(edition, workspace, &theirs, path)?);
    }
    let added = theirs.added_to(&workspace.root, &workspace.files)?;
    changes.extend(added.iter().map(|path| format!("added    {}", path.display())));
    Ok(changes)
}

impl Graft {
    /// Makes the workspace; the exit code is 0 when it has all sections, 1 when some had to stay unwritten.
    ///
    /// # Errors
    /// `Exit::Usage` outside of a workspace, or when `dir` is none; when `into` cannot be made.
    pub fn run(&self) -> Result<u8> {
        let edition = Edition::of(&self.dir)?;
        let workspace = Workspace::of(edition)?;
        let theirs = UntrustedFolder::open(&self.dir)?;
        let lessons = workspace.sections()?;
        let mut unwritten = Vec::new();
        workspace.copy(&self.into, |path, mut text| {
            if lessons.iter().any(|(source, _)| source == path) {
                let grafted = text_of(&theirs, path).and_then(|donor| by_name::with_bodies_of(path, &text, &donor));
                let (grafted, missing, why) = match grafted {
                    Ok((text, missing)) => (text, missing, "no section is marked so".to_owned()),
                    Err(why) => {
                        let all = lessons.iter().filter(|(source, _)| source == path);
                        let all = all.map(|(_, section)| section.lesson.clone()).collect();
                        let text = by_name::unwritten(path, &text).map_err(|why| broken(path, &why.reason()))?;
                        (text, all, why.reason())
                    }
                };
                text = grafted;
                let told = missing.iter().map(|lesson| format!("unwritten  {lesson}, {}: {why}", path.display()));
                unwritten.extend(told);
            }
            Ok(if is_crate_root(path) { section::with_unused_allowed(&text) } else { text })
        })?;
        unwritten.iter().try_for_each(|line| write(None, &format!("{}\n", drawn(line))))?;
        let grafted = lessons.len() - unwritten.len();
        write(None, &format!("{grafted} sections of {} in {}\n", self.dir.display(), self.into.display()))?;
        Ok(u8::from(!unwritten.is_empty()))
    }
}

/// The line on one file of the workspace, if it differs.
fn change(edition: Edition, workspace: &Workspace, theirs: &UntrustedFolder, path: &Path) -> Result<Option<String>> {
    let here = workspace.root.join(path);
    let ours = read(&here)?;
    let told = match theirs.read(path) {
        Ok(None) if !edition.collects(path) => return Ok(None),
        Ok(None) => return Ok(Some(format!("missing  {}", path.display()))),
        Err(why) => Some(format!(": {}", why.reason())),
        Ok(Some(content)) => match differ(path, &ours, &content.bytes) {
            Some(why) => Some(why),
            None => {
                let mode = here.metadata().or_cannot("read", &here).into_usage()?.permissions().mode();
                (content.is_executable != (mode & 0o100 != 0)).then(|| ": whether it can be executed".to_owned())
            }
        },
    };
    Ok(told.map(|why| format!("changed  {}{why}", path.display())))
}

/// Whether two files differ where a student may not change them, and more of it if more is known.
fn differ(path: &Path, ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    if path.ends_with("expected/rubric.toml") && without_marks(ours) == without_marks(theirs) {
        return None;
    }
    if !is_source(path) {
        return Some(String::new());
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|why| Error::usage(why.to_string()));
    match text(ours).and_then(|ours| by_name::agree_outside(path, ours, text(theirs)?)) {
        Ok(true) => None,
        Ok(false) => Some(String::new()),
        Err(why) => Some(format!(": {}", why.reason())),
    }
}

/// A rubric but for what each check is worth: the instructor may change that after the handout.
fn without_marks(rubric: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(rubric);
    let is_worth = |line: &str| ["marks =", "points ="].iter().any(|key| line.starts_with(key));
    text.lines().filter(|line| !is_worth(line)).map(str::to_owned).collect()
}

fn text_of(theirs: &UntrustedFolder, path: &Path) -> Result<String> {
    let content = theirs.read(path)?.ok_or_else(|| Error::usage("there is no such file"))?;
    String::from_utf8(content.bytes).map_err(|why| Error::usage(why.to_string()))
}
