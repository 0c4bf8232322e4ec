//! The hand-ins of a class, as the course's system exports them.
//!
//! One entry of the folder is one student's: a folder, or an archive. Moodle names its entries
//! `NAME_NUMBER_assignsubmission_file_…` and exports them as one zip; GitHub Classroom gives a clone each.

use std::fs;
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::gradescope::{self, Submitter};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::submission::unpack::{self, ArchiveLimits};

/// Where Moodle's name of an entry ends, and the file's own begins.
const MOODLE: &str = "_assignsubmission_file_";
/// What an export of a whole class may hold.
const EXPORT: ArchiveLimits = ArchiveLimits { bytes: 4 << 30, files: 200_000 };

/// What one entry of the folder is.
#[derive(Debug, Clone)]
pub struct HandIn {
    /// Its name there.
    pub name: String,
    /// Its absolute path.
    pub path: PathBuf,
    /// The participant in Moodle.
    pub moodle: Option<Participant>,
    /// Who it is in Gradescope's metadata.
    pub submitter: Option<Submitter>,
    /// Why it cannot be graded, where that is known before it is opened.
    pub refused: Option<String>,
}

/// A participant of a Moodle course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// As it stands in the entry's name.
    pub full_name: String,
    /// Moodle's number of this person in this assignment, by which it takes marks.
    pub number: String,
}

impl HandIn {
    /// The name of who handed it in, as the course's system has it.
    pub fn full_name(&self) -> Option<String> {
        let moodle = self.moodle.as_ref().map(|who| &who.full_name);
        moodle.or(self.submitter.as_ref().map(|who| &who.name)).filter(|name| !name.is_empty()).cloned()
    }

    /// The words in which a roll number may stand: those of its name, without what Moodle puts before it; of a folder, those
    /// of the names in it as well.
    pub fn words(&self) -> Vec<String> {
        let own = self.name.split_once(MOODLE).map_or(self.name.as_str(), |(_, own)| own);
        let inside = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let names = [own.to_owned()].into_iter().chain(inside.map(|name| name.to_string_lossy().into_owned()));
        let words: Vec<String> = names.flat_map(|name| words_of(&name)).collect();
        words
    }
}

/// The words of a name, in small letters.
pub fn words_of(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Refuses a folder of results among the hand-ins, before it is made.
///
/// # Errors
/// `Exit::Usage` with both.
pub fn keep_apart(given: &Path, out: &Path) -> Result<()> {
    let given = fs::canonicalize(given).or_cannot("open", given).into_usage()?;
    let whole = std::path::absolute(out).or_cannot("open", out).into_usage()?;
    // What is not there yet will lie in the nearest folder that is.
    let is_inside =
        whole.ancestors().find_map(|path| fs::canonicalize(path).ok()).is_some_and(|it| it.starts_with(&given));
    if is_inside {
        let what = format!("{} lies in {}", out.display(), given.display());
        return Err(Error::usage(format!("{what}: its results would be taken for a hand-in; give another --out")));
    }
    Ok(())
}

/// Every hand-in of `given`, in the order of their names. An export is unpacked below the folder of results.
///
/// # Errors
/// `Exit::Usage` when it is neither a folder nor a zip, or cannot be read.
pub fn all(given: &Path, folder: &Folder) -> Result<Vec<HandIn>> {
    let given = fs::canonicalize(given).or_cannot("open", given).into_usage()?;
    let root = if given.is_file() { unpacked(&given, folder)? } else { given };
    let export = gradescope::export_in(&root);
    let mut submitters = export.as_deref().map(gradescope::submitters).transpose()?.unwrap_or_default();
    let root = export.unwrap_or(root);
    let mut handins = Vec::new();
    for entry in fs::read_dir(&root).or_cannot("read", &root).into_usage()? {
        let entry = entry.or_cannot("read", &root).into_usage()?;
        let kind = entry.file_type().or_cannot("read", entry.path()).into_usage()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.')
            || name == gradescope::METADATA
            || name == "__MACOSX"
            || name.contains("_assignsubmission_onlinetext")
        {
            continue;
        }
        let refused = if kind.is_symlink() {
            Some("it is a symbolic link".to_owned())
        } else if !kind.is_dir() && unpack::kind_of(&entry.path()).is_none() {
            Some("it is neither a folder nor a .tar, .tar.gz, .tar.xz or .zip".to_owned())
        } else {
            None
        };
        let one = HandIn { moodle: participant(&name), path: entry.path(), name, submitter: None, refused };
        match submitters.remove(&one.name).filter(|people| !people.is_empty()) {
            None => handins.push(one),
            // A group has one hand-in, and each of them a row.
            Some(people) => {
                handins.extend(people.into_iter().map(|who| HandIn { submitter: Some(who), ..one.clone() }))
            }
        }
    }
    handins.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(handins)
}

/// The folder into which an export was unpacked.
fn unpacked(export: &Path, folder: &Folder) -> Result<PathBuf> {
    let Some((kind, _)) = unpack::kind_of(export) else {
        return Err(Error::usage(format!("{} is neither a folder nor a .zip", export.display())));
    };
    let into = folder.path.join("handins");
    if into.exists() {
        fs::remove_dir_all(&into).or_cannot("remove the folder", &into).into_usage()?;
    }
    fs::create_dir(&into).or_cannot("make the folder", &into).into_usage()?;
    unpack::unpack(export, kind, &into, EXPORT).or_cannot("unpack", export).into_usage()?;
    Ok(into)
}

fn participant(name: &str) -> Option<Participant> {
    let (before, _) = name.split_once(MOODLE)?;
    let (full_name, number) = before.rsplit_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Participant { full_name: full_name.to_owned(), number: number.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moodles_names_tell_who_it_is_and_their_number_is_no_roll_number() {
        let who = participant("Ada King Lovelace_2718281_assignsubmission_file_24m0001.tar.gz").unwrap();
        assert_eq!((who.full_name.as_str(), who.number.as_str()), ("Ada King Lovelace", "2718281"));
        assert_eq!(participant("24m0001_assignment3.tar.gz"), None);
        let handin = HandIn {
            name: "Ada_2718281_assignsubmission_file_24M0001-a3.tar.gz".to_owned(),
            path: PathBuf::from("/nowhere"),
            moodle: None,
            submitter: None,
            refused: None,
        };
        assert_eq!(handin.words(), ["24m0001", "a3", "tar", "gz"]);
    }
}
