//! `students/ROLL/feedback.html`: one student's marks, and for each lost mark what was wanted, what the kernel said, a hint
//! and the page to read.

use std::path::PathBuf;

use maud::{Markup, html};

use super::folder::Folder;
use super::marks::{StudentRow, TaskCell};
use super::page::{around, class_of};
use super::stored::StoredCheck;
use crate::error::Result;
use crate::escape::drawn;
use crate::judge::Status;

/// Writes it.
///
/// # Errors
/// `Exit::Usage` when it cannot be written.
pub fn write(folder: &Folder, row: &StudentRow) -> Result<()> {
    let max: u32 = row.tasks.iter().map(|cell| cell.max).sum();
    let body = html! {
        h1 { (row.id) " " (drawn(&row.name)) }
        p { strong { (row.total()) " of " (max) " marks" } @if !row.is_final() { ", not final" } }
        @if let Some(problem) = &row.problem { p { (drawn(problem)) } }
        @for cell in &row.tasks { (task(cell)) }
    };
    let title = format!("{} feedback", row.id);
    folder.write(&PathBuf::from("students").join(&row.id).join("feedback.html"), &around(&title, &body))
}

fn task(cell: &TaskCell) -> Markup {
    let why = cell.why();
    html! {
        h2 { (cell.task) ": " (cell.score()) " of " (cell.max) }
        @if !why.is_empty() { pre { (shown(&why)) } }
        @if let Some(report) = &cell.report {
            @for note in &report.notes { p { "Note: " (drawn(note)) } }
        }
        @for check in cell.checks().iter().filter(|check| check.extra_data.verdict != Status::Passed) { (lost(check)) }
        @let passed: Vec<&StoredCheck> = cell.checks().iter().filter(|check| check.extra_data.verdict == Status::Passed).collect();
        @if !passed.is_empty() {
            details {
                summary { (passed.len()) " checks passed" }
                ul { @for check in passed { li { (check.extra_data.claim) " (" (check.score) ")" @for remark in &check.extra_data.remarks { " " (drawn(remark)) } } } }
            }
        }
    }
}

fn lost(check: &StoredCheck) -> Markup {
    let about = &check.extra_data;
    html! {
        section class=(format!("check {}", class_of(check))) {
            h3 { (about.claim) " (" (check.score) " of " (check.max_score) ")" @if let Some(lesson) = &about.lesson { ", Lesson " (lesson) } }
            @if let Some(reason) = &about.reason { p { (drawn(reason)) } }
            @if let (Some(expected), Some(observed)) = (&about.expected, &about.observed) {
                table {
                    tr { th { "wanted" } td { (drawn(expected)) } }
                    tr { th { "the kernel said" } td { (drawn(observed)) } }
                }
            }
            @for hint in &about.hints { p { "Hint: " (hint) } }
            @if let Some(look) = &about.look { p { "Look: " (look) } }
            details { summary { "All of it" } pre { (shown(&check.output)) } }
        }
    }
}

/// Text of several lines, each safe to show.
fn shown(text: &str) -> String {
    text.lines().map(drawn).collect::<Vec<_>>().join("\n")
}
