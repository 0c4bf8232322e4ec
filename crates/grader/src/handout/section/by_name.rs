//! Marked sections of a file, in the way of its language: functions of Rust, lines of C and bash.

use std::ffi::OsStr;
use std::path::Path;

use super::Section;
use super::lines::{self, Language};
use crate::error::Result;

/// The language of a file whose sections are lines.
pub fn language_of(path: &Path) -> Option<Language> {
    match path.extension().and_then(OsStr::to_str)? {
        "c" => Some(Language::C),
        "sh" => Some(Language::Bash),
        _ => None,
    }
}

/// Its marked sections, from top to bottom.
///
/// # Errors
/// In words, when a section is not written as one.
pub fn sections(path: &Path, source: &str) -> Result<Vec<Section>> {
    match language_of(path) {
        Some(language) => lines::sections(source, language),
        None => super::sections(source),
    }
}

/// Whether a section of `source` says something else than what it says before it is written.
pub fn is_written(path: &Path, section: &Section, source: &str) -> bool {
    match language_of(path) {
        Some(_) => !section.text(source).contains("not yet implemented: Lesson "),
        None => !section.text(source).trim_start_matches('{').trim_start().starts_with("todo!("),
    }
}

/// The source with every section unwritten.
///
/// # Errors
/// Those of [`sections`].
pub fn unwritten(path: &Path, source: &str) -> Result<String> {
    match language_of(path) {
        Some(language) => lines::unwritten(source, language),
        None => super::unwritten(source),
    }
}

/// The source with the bodies of another one, and the lessons that the other one lacks.
///
/// # Errors
/// Those of [`sections`], of either.
pub fn with_bodies_of(path: &Path, source: &str, donor: &str) -> Result<(String, Vec<String>)> {
    match language_of(path) {
        Some(language) => lines::with_bodies_of(source, donor, language),
        None => super::with_bodies_of(source, donor),
    }
}

/// Whether two sources are the same outside of their sections.
///
/// # Errors
/// Those of [`sections`].
pub fn agree_outside(path: &Path, one: &str, other: &str) -> Result<bool> {
    match language_of(path) {
        Some(language) => lines::agree_outside(one, other, language),
        None => super::agree_outside(one, other),
    }
}
