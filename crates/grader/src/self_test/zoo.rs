//! The zoo: small programs whose marks are known before they are graded.
//!
//! `zoo/right/NAME` holds programs of many styles that do what the task asks; `zoo/wrong/NAME` holds programs with one
//! mistake each. `expect.toml` says in one line what the program is and which marks it must lose. Most programs are
//! another one with a single change, so only the change is kept: `base` names the other and `edit` lists the places.
//! A place must be found exactly once, so a change of the base can never turn a mistake into nothing unnoticed.
//!
//! Look: `grade self-test --list`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::handout::section::{by_name, lines};
use crate::rubric::Rubric;
use crate::task::Task;

/// One program of the zoo.
#[derive(Debug, Clone)]
pub struct ZooEntry {
    /// Folder below the zoo: `wrong/no-uts-flag`.
    pub name: String,
    /// What is expected of it.
    pub expect: Expect,
    zoo: PathBuf,
}

/// `expect.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The task it pretends to solve.
    pub task: Task,
    /// What it does, in one line.
    pub story: String,
    /// The program from which it differs by `edit`; without it, all files lie beside `expect.toml`.
    base: Option<String>,
    /// The edition of the course whose solution it is: `c`. It is taken without the comments that mark its sections.
    edition: Option<String>,
    /// Other programs of the zoo whose files lie there as well, such as the tool that an orchestrator drives; if left out,
    /// those of `base`.
    #[serde(default)]
    with: Vec<String>,
    /// The differences from `base`.
    #[serde(default)]
    edit: Vec<Edit>,
    /// Name of the folder that is handed in; none is a plain one.
    folder: Option<String>,
    /// A shell command that is run on our side in the task's folder before the submission is graded; if left out,
    /// that of `base`.
    build: Option<String>,
    /// Programs without which it cannot be tried.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The hierarchy that must hold the cpu controller for the story to be true: `v1` or `v2`.
    pub cpu: Option<String>,
    /// The marks it must lose.
    #[serde(default)]
    pub lost: Lost,
    /// The marks it loses on some machines and not on others.
    #[serde(default)]
    pub may_lose: BTreeMap<String, u32>,
    /// Words that must stand in one of the remarks.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Of an attack: what of the box must stop it.
    pub wall: Option<String>,
    /// Of an attack: files that are put on this machine for it to look for, and taken away again.
    #[serde(default)]
    pub plants: Vec<PathBuf>,
    /// Words, each of which must stand in what the box tells that it refused of an attack. Of a right program, the words
    /// that may: else nothing that it does is refused.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// One change of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    find: String,
    replace: String,
}

/// Marks that must be lost.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Lost {
    /// `lost = "all"`: nothing was done, so there is nothing to give marks for.
    Everything(All),
    /// Marks by check.
    ByCheck(BTreeMap<String, u32>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// All marks of all checks.
    All,
}

impl Default for Lost {
    fn default() -> Self {
        Lost::ByCheck(BTreeMap::new())
    }
}

impl Lost {
    /// The marks that must be lost on a check worth `marks`.
    pub fn on(&self, check: &str, marks: u32) -> u32 {
        match self {
            Lost::Everything(All::All) => marks,
            Lost::ByCheck(lost) => lost.get(check).copied().unwrap_or(0),
        }
    }
}

/// Reads all programs of the zoo below `folder`: the right ones, the wrong ones, the attacks, by name.
///
/// # Errors
/// `Exit::Usage` when there is no zoo, `Exit::Broken` when a program's `expect.toml` does not fit it.
pub fn read(folder: &Path) -> Result<Vec<ZooEntry>> {
    let mut entries = Vec::new();
    for side in ["right", "wrong", "attack"] {
        let list = fs::read_dir(folder.join(side))
            .map_err(|e| Error::usage(format!("no zoo in {}: {e}; see --zoo", folder.display())))?;
        let mut names: Vec<String> = list.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            entries.push(ZooEntry::read(folder, format!("{side}/{name}"))?);
        }
    }
    Ok(entries)
}

impl ZooEntry {
    fn read(zoo: &Path, name: String) -> Result<ZooEntry> {
        let file = zoo.join(&name).join("expect.toml");
        let broken = |why: String| Error::broken(format!("zoo: {}: {why}", file.display()));
        let mut expect = read_expect(zoo, &name)?;
        if let Some(base) = &expect.base {
            let base = read_expect(zoo, base)?;
            expect.build = expect.build.or(base.build);
            if expect.with.is_empty() {
                expect.with = base.with;
            }
        }
        let entry = ZooEntry { name, expect, zoo: zoo.to_owned() };
        entry.consistent().map_err(broken)?;
        entry.files().map_err(|why| broken(why.reason()))?;
        Ok(entry)
    }

    /// Whether it must lose marks at all.
    pub fn is_wrong(&self) -> bool {
        self.name.starts_with("wrong/")
    }

    /// Whether it is about the box: it is not graded, but must reach nothing.
    pub fn is_attack(&self) -> bool {
        self.name.starts_with("attack/")
    }

    /// The first program it needs and this machine lacks.
    pub fn missing(&self) -> Option<&str> {
        let present = |name: &str| {
            std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
        };
        self.expect.needs.iter().map(String::as_str).find(|name| !present(name))
    }

    /// Writes the submission below `into`, in the course's layout, and returns the folder to grade.
    ///
    /// # Errors
    /// `Exit::Broken` when a file cannot be written or the entry's `build` fails.
    pub fn unpack(&self, into: &Path) -> Result<PathBuf> {
        let broken = |why: String| Error::broken(format!("zoo: {}: {why}", self.name));
        let submission = into.join(self.expect.folder.as_deref().unwrap_or("submission"));
        let task = submission.join(self.expect.task.id());
        fs::create_dir_all(&task).or_cannot("make", &task).into_broken()?;
        for (name, file) in self.files().map_err(|why| broken(why.reason()))? {
            let path = task.join(&name);
            let mode = fs::Permissions::from_mode(file.mode);
            fs::write(&path, file.text)
                .and_then(|()| fs::set_permissions(&path, mode))
                .or_cannot("write", &path)
                .into_broken()?;
        }
        if let Some(build) = &self.expect.build {
            let built = Command::new("sh").args(["-ec", build]).current_dir(&task).stdin(Stdio::null()).output();
            match built {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    return Err(broken(format!("{build}: {}", String::from_utf8_lossy(&output.stderr).trim())));
                }
                Err(e) => return Err(broken(format!("{build}: {e}"))),
            }
        }
        Ok(submission)
    }

    /// What the types cannot rule out.
    fn consistent(&self) -> Result<(), String> {
        // Each lies there in the course's layout.
        let rubric = Rubric::in_edition(self.expect.task, false).map_err(|why| why.reason())?;
        let named = match &self.expect.lost {
            Lost::Everything(_) => Vec::new(),
            Lost::ByCheck(lost) => lost.iter().collect(),
        };
        for (id, lost) in named.into_iter().chain(&self.expect.may_lose) {
            match rubric.check(id) {
                None => return Err(format!("{} has no check {id:?}", self.expect.task)),
                Some(check) if *lost == 0 || *lost > check.marks => {
                    return Err(format!("{lost} marks cannot be lost on {id}: it has {}", check.marks));
                }
                Some(_) => {}
            }
        }
        let loses = rubric.checks.iter().any(|check| self.expect.lost.on(&check.id, check.marks) > 0);
        if self.is_wrong() && !loses {
            return Err("a wrong program that loses nothing".to_owned());
        }
        Ok(())
    }

    /// The files of the submission by name: those of `base`, changed by `edit`, and the entry's own laid over them.
    fn files(&self) -> Result<BTreeMap<String, File>> {
        let mut files = BTreeMap::new();
        for other in self.expect.with.iter().chain(&self.expect.base) {
            files.extend(program(&self.zoo, other, &read_expect(&self.zoo, other)?)?);
        }
        files.extend(own_files(&self.zoo, &self.name, &self.expect)?);
        edit(&mut files, &self.expect.edit)?;
        if files.is_empty() {
            return Err(Error::broken("has no file and no base"));
        }
        Ok(files)
    }
}

/// One file of a submission.
#[derive(Debug, Clone)]
struct File {
    text: String,
    mode: u32,
}

/// The files of a program that needs no other one: its own, as its `edit` changes them.
fn program(zoo: &Path, name: &str, expect: &Expect) -> Result<BTreeMap<String, File>> {
    let mut files = own_files(zoo, name, expect)?;
    if expect.base.is_none() {
        edit(&mut files, &expect.edit)?;
    }
    Ok(files)
}

/// The files beside an `expect.toml`, laid over those of the edition whose solution it is.
fn own_files(zoo: &Path, name: &str, expect: &Expect) -> Result<BTreeMap<String, File>> {
    let mut files = match &expect.edition {
        Some(edition) => solution(&zoo.join("../../../editions").join(edition).join(expect.task.id()))?,
        None => BTreeMap::new(),
    };
    files.extend(read_files(&zoo.join(name))?);
    Ok(files)
}

/// The programs of one task of an edition, without what tells students where to write.
fn solution(folder: &Path) -> Result<BTreeMap<String, File>> {
    let mut files = read_files(folder)?;
    files.retain(|name, _| by_name::language_of(Path::new(name)).is_some());
    for (name, file) in &mut files {
        if let Some(language) = by_name::language_of(Path::new(name)) {
            file.text = lines::without_markers(&file.text, language);
        }
    }
    Ok(files)
}

fn edit(files: &mut BTreeMap<String, File>, edits: &[Edit]) -> Result<()> {
    for edit in edits {
        let file =
            files.get_mut(&edit.file).ok_or_else(|| Error::broken(format!("there is no {} to edit", edit.file)))?;
        file.text = replace_once(&file.text, &edit.find, &edit.replace).map_err(Error::broken)?;
    }
    Ok(())
}

fn read_expect(zoo: &Path, name: &str) -> Result<Expect> {
    let file = zoo.join(name).join("expect.toml");
    let text = fs::read_to_string(&file).or_cannot("read", &file).into_broken()?;
    toml::from_str(&text).map_err(|why| Error::broken(format!("zoo: {}: {}", file.display(), why.message())))
}

/// The files of one folder of the zoo but for `expect.toml`.
fn read_files(folder: &Path) -> Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).or_cannot("read", folder)? {
        let entry = entry.or_cannot("read", folder)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "expect.toml" && entry.path().is_file() {
            let text = fs::read_to_string(entry.path()).or_cannot("read", folder)?;
            let mode = entry.metadata().or_cannot("read", folder)?.permissions().mode() & 0o777;
            files.insert(name, File { text, mode });
        }
    }
    Ok(files)
}

/// `text` with `find`, which must stand in it exactly once, replaced by something else.
fn replace_once(text: &str, find: &str, replace: &str) -> Result<String, String> {
    if find == replace {
        return Err(format!("an edit must change something and leaves {find:?} as it is"));
    }
    match text.matches(find).count() {
        1 => Ok(text.replacen(find, replace, 1)),
        n => Err(format!("an edit must match once and matches {n} times: {find:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_matches_twice_or_never_or_changes_nothing_is_refused() {
        assert_eq!(replace_once("a b c", "b", "x").unwrap(), "a x c");
        assert!(replace_once("a b b", "b", "x").unwrap_err().contains("2 times"));
        assert!(replace_once("a", "b", "x").unwrap_err().contains("0 times"));
        assert!(replace_once("a b", "b", "b").unwrap_err().contains("as it is"));
    }

    #[test]
    fn everything_lost_is_all_marks_of_each_check() {
        let expect: Expect = toml::from_str("task = 'task1'\nstory = ''\nlost = 'all'").unwrap();
        assert_eq!(expect.lost.on("child2.uts", 3), 3);
        let expect: Expect = toml::from_str("task = 'task1'\nstory = ''\nlost = { method = 1 }").unwrap();
        assert_eq!((expect.lost.on("method", 1), expect.lost.on("clean", 2)), (1, 0));
    }
}
