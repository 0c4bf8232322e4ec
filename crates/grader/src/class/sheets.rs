//! Tables for spreadsheets and for the course's systems: `marks.csv`, `moodle.csv`, `students/ROLL/results.json`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::folder::Folder;
use super::kept;
use super::marks::{Marks, StudentRow};
use crate::error::{Error, Result};
use crate::escape::drawn;
use crate::report::csv::table;

/// Writes all of them.
///
/// # Errors
/// `Exit::Usage` when one cannot be written.
pub fn write(folder: &Folder, marks: &Marks) -> Result<()> {
    folder.write(Path::new("marks.csv"), &marks_csv(marks)?)?;
    if marks.rows.iter().any(|row| row.moodle.is_some()) {
        folder.write(Path::new("moodle.csv"), &moodle_csv(marks)?)?;
    }
    for row in &marks.rows {
        let student = PathBuf::from("students").join(&row.id);
        folder.write(&student.join("results.json"), &gradescope(row, marks)?)?;
        folder.write(&student.join("report.txt"), &text(folder, row))?;
    }
    Ok(())
}

/// One row a student: roll number, name, the total, each task, each check, remarks.
fn marks_csv(marks: &Marks) -> Result<String> {
    let checks: Vec<Vec<String>> = (0..marks.tasks.len()).map(|nth| ids_of(marks, nth)).collect();
    let mut head: Vec<String> = ["roll", "name", "marks", "max", "status"].map(str::to_owned).to_vec();
    head.extend(marks.tasks.iter().map(|(task, _)| task.id().to_owned()));
    for ((task, _), checks) in marks.tasks.iter().zip(&checks) {
        head.extend(checks.iter().map(|check| format!("{} {check}", task.id())));
    }
    head.push("remarks".to_owned());
    let mut rows = vec![head];
    for row in &marks.rows {
        let status = if row.is_final() { "final" } else { "not final" };
        let (total, max) = (row.total().to_string(), marks.max().to_string());
        let mut cells = vec![row.id.clone(), row.name.clone(), total, max, status.to_owned()];
        cells.extend(row.tasks.iter().map(|cell| cell.score().to_string()));
        for (cell, ids) in row.tasks.iter().zip(&checks) {
            let score = |id: &String| {
                let check = cell.checks().iter().find(|check| check.extra_data.id == *id);
                check.map_or_else(String::new, |check| check.score.to_string())
            };
            cells.extend(ids.iter().map(score));
        }
        cells.push(row.remarks().join("; "));
        rows.push(cells);
    }
    table(&rows)
}

/// The checks by which at least one student was judged, in the rubric's order.
pub fn ids_of(marks: &Marks, task: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for cell in marks.rows.iter().filter_map(|row| row.tasks.get(task)) {
        for (nth, check) in cell.checks().iter().enumerate() {
            if !ids.contains(&check.extra_data.id) {
                ids.insert(nth.min(ids.len()), check.extra_data.id.clone());
            }
        }
    }
    ids
}

/// What Moodle's page "Upload grading worksheet" takes. Marks that are not final are left out.
fn moodle_csv(marks: &Marks) -> Result<String> {
    let head = ["Identifier", "Full name", "Grade", "Maximum Grade"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    for row in &marks.rows {
        if let Some(who) = row.moodle.as_ref().filter(|_| row.is_final()) {
            let number = format!("Participant {}", who.number);
            rows.push(vec![number, who.full_name.clone(), row.total().to_string(), marks.max().to_string()]);
        }
    }
    table(&rows)
}

/// All tasks in the one `results.json` that Gradescope reads.
fn gradescope(row: &StudentRow, marks: &Marks) -> Result<String> {
    let mut tests = Vec::new();
    for cell in &row.tasks {
        let why = cell.why();
        if cell.checks().is_empty() {
            tests.push(
                json!({ "name": cell.task.to_string(), "score": 0, "max_score": cell.max, "output": drawn(&why) }),
            );
        }
        for (check, nth) in cell.checks().iter().zip(1..) {
            tests.push(json!({
                "name": check.extra_data.claim,
                "number": format!("{}.{nth}", cell.task.number()),
                "score": check.score,
                "max_score": check.max_score,
                "output": check.output,
            }));
        }
    }
    let output = row.remarks().iter().map(|remark| drawn(remark)).collect::<Vec<_>>().join("\n");
    let all = json!({ "score": row.total(), "output": output, "visibility": "visible", "tests": tests,
        "extra_data": { "final_marks": row.is_final(), "max_score": marks.max() } });
    serde_json::to_string_pretty(&all).map_err(|why| Error::broken(format!("results.json: {why}")))
}

/// The reports on all tasks, one after the other.
fn text(folder: &Folder, row: &StudentRow) -> String {
    let mut text = format!("{} {}: {} marks\n", row.id, row.name, row.total());
    for cell in &row.tasks {
        let path = folder.path.join(kept(&row.id, cell.task)).join("report.txt");
        let report = cell.report.as_ref().and_then(|_| std::fs::read_to_string(path).ok());
        text += &format!("\n{}\n", report.unwrap_or_else(|| format!("{}: {}\n", cell.task, drawn(&cell.why()))));
    }
    text
}
