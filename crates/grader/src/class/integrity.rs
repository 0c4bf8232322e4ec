//! What differs from the handout where nothing may: outside the marked functions of a hand-in in Rust.
//!
//! It costs no marks by itself, since a student may have had a reason; an instructor should know. `grade changes` tells the
//! same of one, and `grade graft` makes a workspace in which nothing else differs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::handin::HandIn;
use super::roster::Student;
use crate::handout::changes::between;
use crate::handout::edition::is_workspace;
use crate::handout::workspace::Workspace;
use crate::submission::unpack;

/// The most differences that are told of one hand-in.
const MOST: usize = 10;
/// How many folders above its files a workspace may lie in.
const DEEPEST: usize = 3;

/// What is to be told of each student's hand-in, by the student's folder. Nothing when the current directory is in no workspace
/// to compare with.
pub fn remarks(students: &[Student], jobs: u16) -> BTreeMap<String, Vec<String>> {
    let (found, next) = (Mutex::new(BTreeMap::new()), Mutex::new(students.iter()));
    let Ok(workspace) = Workspace::here() else { return BTreeMap::new() };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let take = || next.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
                while let Some(student) = take() {
                    let Some(handin) = student.handin.as_ref().filter(|_| !student.is_refused) else { continue };
                    let told = of_one(&workspace, handin);
                    if !told.is_empty() {
                        let mut found = found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        found.insert(student.id.clone(), told);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn of_one(workspace: &Workspace, handin: &HandIn) -> Vec<String> {
    let unpacked = match unpack::kind_of(&handin.path).filter(|_| handin.path.is_file()) {
        None => None,
        Some((kind, _)) => {
            let Ok(folder) = tempfile::tempdir() else { return Vec::new() };
            // Why it cannot be unpacked is told where it is graded.
            if unpack::unpack(&handin.path, kind, folder.path(), unpack::HAND_IN).is_err() {
                return Vec::new();
            }
            Some(folder)
        }
    };
    let root = unpacked.as_ref().map_or(handin.path.as_path(), tempfile::TempDir::path);
    // One in C or bash has no workspace, and the grader takes its marked files alone.
    let Some(theirs) = workspace_in(root, DEEPEST) else { return Vec::new() };
    let changes = between(workspace, &theirs);
    match changes {
        Ok(changes) => {
            let more = changes.len().saturating_sub(MOST);
            let mut told: Vec<String> = changes.into_iter().take(MOST).map(|change| said(&change)).collect();
            if more > 0 {
                told.push(format!("outside the marked functions: {more} more; grade changes lists all"));
            }
            told
        }
        Err(why) => vec![format!("cannot be compared with the handout: {}", why.line())],
    }
}

fn said(change: &str) -> String {
    let words: Vec<&str> = change.split_whitespace().collect();
    format!("outside the marked functions: {}", words.join(" "))
}

/// The workspace in a folder, or in folders around it. No link is followed.
fn workspace_in(folder: &Path, deepest: usize) -> Option<PathBuf> {
    if is_workspace(folder) {
        return Some(folder.to_owned());
    }
    let below = std::fs::read_dir(folder).ok()?.flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    folders.filter(|_| deepest > 0).find_map(|folder| workspace_in(&folder, deepest - 1))
}
