//! The parts of a stored report that the tables and pages need.

use std::path::Path;

use serde::Deserialize;

use crate::error::{IntoExit, OrCannot, Result};
use crate::judge::Status;

/// `report.json` of one task of a student. Fields are those of the JSON report.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredReport {
    /// What was done to find it and make it ready.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why it was not graded.
    pub error: Option<String>,
    /// Whether it was not graded because the hand-in has nothing for this task.
    #[serde(default)]
    pub missing: bool,
    /// Whether cargo built it, so that a record of it is judged as that.
    #[serde(default)]
    pub is_rust: bool,
    /// The compiler's first error.
    pub build_error: Option<String>,
    /// Calls and writes that the box refused.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Marks.
    pub score: u32,
    /// The most there is; of a task that was not graded it is not known here.
    pub max_score: Option<u32>,
    /// Seconds.
    pub execution_time: f64,
    /// The checks.
    pub tests: Vec<StoredCheck>,
    /// Whether the marks are final.
    pub extra_data: Extra,
}

/// More about a report.
#[derive(Debug, Clone, Deserialize)]
pub struct Extra {
    /// The least and the most marks that it may turn out to be.
    pub score_range: [u32; 2],
    /// Whether these are the same because everything was decided.
    pub final_marks: bool,
}

/// One check.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredCheck {
    /// Marks.
    pub score: u32,
    /// The most there is.
    pub max_score: u32,
    /// What was lost and why, a line each.
    pub output: String,
    /// The rest.
    pub extra_data: StoredCheckData,
}

/// More about a check.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredCheckData {
    /// Its name.
    pub id: String,
    /// How it ended.
    pub verdict: Status,
    /// The lesson that it belongs to.
    pub lesson: Option<String>,
    /// What it claims, in a sentence.
    pub claim: String,
    /// Why it has no verdict of its own.
    pub reason: Option<String>,
    /// What was wanted where marks were lost first.
    pub expected: Option<String>,
    /// What the kernel said instead.
    pub observed: Option<String>,
    /// Hints, the shortest first.
    pub hints: Vec<String>,
    /// Where to look and to read.
    pub look: Option<String>,
    /// What costs nothing.
    pub remarks: Vec<String>,
}

impl StoredReport {
    /// Reads one; none when there is none.
    ///
    /// # Errors
    /// `Exit::Usage` when it is there and cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let json = match std::fs::read(path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            json => json.or_cannot("read", path).into_usage()?,
        };
        serde_json::from_slice(&json).map(Some).or_cannot("read", path).into_usage()
    }
}
