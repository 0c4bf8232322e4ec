//! Gradescope's export of all submissions: a folder `submission_NUMBER` each, and `submission_metadata.yml`, which tells whose they are.
//!
//! ```text
//! submission_60450389:
//!   :submitters:
//!   - :name: Ada Lovelace
//!     :sid: '24m0001'
//!     :email: ada@example.edu
//!   :created_at: 2026-03-01 10:00:00 Z
//! ```
//!
//! The service's program writes it, always in this form, so a few rules read it: of YAML no more is needed than keys, lists of them
//! and quotes. Who handed in as a group has the same marks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, IntoExit, OrCannot, Result};

/// The file's name.
pub const METADATA: &str = "submission_metadata.yml";

/// Who handed something in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitter {
    /// As the service has it; may be empty.
    pub name: String,
    /// The roll number, else what stands before the `@` of the address.
    pub roll: String,
}

/// The folder with the metadata: `root`, or the only folder in it.
pub fn export_in(root: &Path) -> Option<PathBuf> {
    if root.join(METADATA).is_file() {
        return Some(root.to_owned());
    }
    let mut below = std::fs::read_dir(root).ok()?.flatten().filter(|entry| entry.file_name() != "__MACOSX");
    match (below.next(), below.next()) {
        (Some(one), None) if one.path().join(METADATA).is_file() => Some(one.path()),
        _ => None,
    }
}

/// The submitters of each folder of an export.
///
/// # Errors
/// `Exit::Usage` with the line that cannot be understood.
pub fn submitters(export: &Path) -> Result<BTreeMap<String, Vec<Submitter>>> {
    let file = export.join(METADATA);
    let text = std::fs::read_to_string(&file).or_cannot("read", &file).into_usage()?;
    parsed(&text).map_err(|why| Error::usage(format!("{}: {why}", file.display())))
}

fn parsed(text: &str) -> Result<BTreeMap<String, Vec<Submitter>>, String> {
    let mut all: BTreeMap<String, Vec<Submitter>> = BTreeMap::new();
    let (mut folder, mut is_in_submitters) = (None, false);
    for (line, number) in text.lines().zip(1..) {
        let wrong = |what: &str| format!("line {number}: {what}");
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') || line == "---" {
            continue;
        }
        if indent == 0 && !content.starts_with('-') {
            let name = content.strip_suffix(':').ok_or_else(|| wrong("not a folder's name and a colon"))?;
            let name = unquoted(name);
            all.insert(name.clone(), Vec::new());
            (folder, is_in_submitters) = (Some(name), false);
            continue;
        }
        let folder = folder.as_ref().ok_or_else(|| wrong("it belongs to no folder"))?;
        let item = content.strip_prefix("- ");
        if indent == 2 && item.is_none() {
            is_in_submitters = content == ":submitters:";
            continue;
        }
        // Of the rest, results and history, nothing is needed.
        let Some(people) = all.get_mut(folder).filter(|_| is_in_submitters) else { continue };
        if item.is_some() {
            people.push(Submitter::default());
        }
        let (key, value) = item.unwrap_or(content).split_once(": ").unwrap_or((item.unwrap_or(content), ""));
        let person = people.last_mut().ok_or_else(|| wrong("it belongs to no submitter"))?;
        match key.trim_matches(':') {
            "name" => person.name = unquoted(value),
            "sid" if !unquoted(value).is_empty() => person.roll = unquoted(value),
            "email" if person.roll.is_empty() => {
                person.roll = unquoted(value).split('@').next().unwrap_or_default().to_owned();
            }
            _ => {}
        }
    }
    Ok(all)
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let within = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match (within('\''), within('"')) {
        (Some(text), _) => text.replace("''", "'"),
        (_, Some(text)) => text.replace("\\\"", "\"").replace("\\\\", "\\"),
        _ if text == "null" || text == "~" => String::new(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_its_submitters_and_what_else_is_told_does_not_matter() {
        let text = "---\nsubmission_1:\n  :submitters:\n  - :name: Ada O'Neill\n    :sid: '24m0001'\n    :email: a@x.edu\n  \
            - :name: 'Bob ''B'''\n    :sid: \n    :email: bob7@x.edu\n  :created_at: 2026-03-01\n  :score: 5.0\n  \
            :results:\n    tests:\n    - name: 'x: y'\n  :history:\n  - :id: 4\n    :submitters: none\n\
            submission_2:\n  :submitters:\n  - :name: \"C \\\"D\\\"\"\n    :sid: 240003\n";
        let who = parsed(text).unwrap();
        let one = |name: &str, roll: &str| Submitter { name: name.to_owned(), roll: roll.to_owned() };
        assert_eq!(who["submission_1"], [one("Ada O'Neill", "24m0001"), one("Bob 'B'", "bob7")]);
        assert_eq!(who["submission_2"], [one("C \"D\"", "240003")]);
    }

    #[test]
    fn a_line_that_belongs_nowhere_is_named() {
        assert_eq!(parsed("  :submitters:\n").unwrap_err(), "line 1: it belongs to no folder");
        assert_eq!(parsed("a: b\n").unwrap_err(), "line 1: not a folder's name and a colon");
        assert_eq!(parsed("a:\n  :submitters:\n    :sid: 1\n").unwrap_err(), "line 3: it belongs to no submitter");
    }
}
