//! What comes out of the machine: one disk of a fixed size with a tar on it. It is hostile input: the submission is root in the machine.
//!
//! So it is read as hostile: only the names that are known, only regular files, each once, valid UTF-8, no unknown field. What
//! it says of marks is not read at all.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{IntoExit, OrCannot, Result};
use crate::record::Run;

/// Size of the disk. It has holes where nothing was written.
const DISK: u64 = 64 << 20;
/// Stands at the very end of the disk when the tar is whole.
const WHOLE: &[u8; 5] = b"whole";
/// The most notes that are taken, and bytes of each text.
const NOTES: usize = 100;
const TEXT: usize = 4096;

/// What is taken from there.
#[derive(Debug, Default)]
pub struct Results {
    /// How the grader inside ended.
    pub exit_code: u8,
    /// Why there is no verdict.
    pub error: Option<String>,
    /// Whether that is because nothing was handed in for this task.
    pub missing: bool,
    /// What was done to make it ready.
    pub notes: Vec<String>,
    /// The compiler's first error.
    pub build_error: Option<String>,
    /// Whether cargo built it.
    pub is_rust: bool,
    /// What was seen.
    pub runs: Vec<Run>,
}

/// The report made inside. Fields that are of no use here must be right in name all the same.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "these fields are named so that no other is taken")]
struct Inside {
    schema: u32,
    exit_code: u8,
    error: Option<String>,
    #[serde(default)]
    missing: bool,
    #[serde(default)]
    notes: Vec<String>,
    build_error: Option<String>,
    #[serde(default)]
    is_rust: bool,
    grader: IgnoredAny,
    task: IgnoredAny,
    submission: IgnoredAny,
    student: IgnoredAny,
    #[serde(rename = "where")]
    place: Option<IgnoredAny>,
    seed: Option<IgnoredAny>,
    started: Option<IgnoredAny>,
    runs: Option<IgnoredAny>,
    max_score: Option<IgnoredAny>,
    next: Option<IgnoredAny>,
    leftovers: Option<IgnoredAny>,
    refused: Option<IgnoredAny>,
    score: IgnoredAny,
    execution_time: IgnoredAny,
    output: IgnoredAny,
    output_format: IgnoredAny,
    visibility: IgnoredAny,
    stdout_visibility: IgnoredAny,
    tests: IgnoredAny,
    extra_data: IgnoredAny,
}

/// Makes the empty disk.
///
/// # Errors
/// `Exit::Usage` with the file and the reason.
pub fn make(disk: &Path) -> Result<()> {
    File::create(disk).and_then(|file| file.set_len(DISK)).or_cannot("write", disk).into_usage()
}

/// Reads what the machine wrote.
///
/// # Errors
/// In words: what is missing, not known, twice there, or not as it must be.
pub fn read(disk: &Path) -> Result<Results, String> {
    let words = |why: std::io::Error| why.to_string();
    let mut file = File::open(disk).map_err(words)?;
    let mut end = [0; WHOLE.len()];
    file.seek(SeekFrom::Start(DISK - WHOLE.len() as u64)).map_err(words)?;
    file.read_exact(&mut end).map_err(words)?;
    if end != *WHOLE {
        return Err("it ended before its result was written".to_owned());
    }
    file.rewind().map_err(words)?;
    let mut archive = tar::Archive::new(file.take(DISK - WHOLE.len() as u64));
    let (mut report, mut code, mut runs) = (None, None, Vec::new());
    for entry in archive.entries().map_err(words)? {
        let mut entry = entry.map_err(words)?;
        let path = entry.path().map_err(words)?.into_owned();
        let name = path.strip_prefix(".").unwrap_or(&path).to_str().ok_or("a name is not UTF-8")?.to_owned();
        if entry.header().entry_type().is_dir() && ["", "runs"].contains(&name.trim_end_matches('/')) {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(format!("{name:?} is no file"));
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|why| format!("{name:?}: {why}"))?;
        let next_run = format!("runs/run-{}.json", runs.len() + 1);
        match name.as_str() {
            "stderr" => {}
            "report.json" if report.is_none() => report = Some(inside(&text)?),
            "code" if code.is_none() => code = Some(text.trim().parse::<u8>().map_err(|why| format!("code: {why}"))?),
            run if run == next_run => runs.push(record(&text).map_err(|why| format!("{name}: {why}"))?),
            _ => return Err(format!("{name:?} is not known, or stands there twice")),
        }
    }
    let report = report.ok_or("it has no report")?;
    let exit_code = code.ok_or("it has no exit code")?;
    if exit_code != report.exit_code {
        return Err(format!("its report speaks of exit code {} instead of {exit_code}", report.exit_code));
    }
    let notes = report.notes.into_iter().take(NOTES).map(|note| short(&note)).collect();
    Ok(Results {
        exit_code,
        error: report.error.as_deref().map(short),
        missing: report.missing,
        notes,
        build_error: report.build_error.as_deref().map(short),
        is_rust: report.is_rust,
        runs,
    })
}

fn inside(text: &str) -> Result<Inside, String> {
    serde_json::from_str(text).map_err(|why| format!("report.json: {why}"))
}

/// A record with no field that ours does not have.
fn record(text: &str) -> Result<Run, String> {
    let words = |why: serde_json::Error| why.to_string();
    let given: Value = serde_json::from_str(text).map_err(words)?;
    let run: Run = serde_json::from_value(given.clone()).map_err(words)?;
    // What is not known was left out by reading it.
    let known = serde_json::to_value(&run).map_err(words)?;
    match unknown(&given, &known) {
        Some(field) => Err(format!("unknown field {field:?}")),
        None => Ok(run),
    }
}

/// A field of `given` that `known` does not have.
fn unknown(given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| match known.get(name) {
            Some(known) => unknown(value, known),
            None => (!value.is_null()).then(|| short(name)),
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).find_map(|(one, other)| unknown(one, other))
        }
        _ => None,
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A disk with these files.
    fn disk(files: &[(&str, &str)], end: &[u8]) -> Result<Results, String> {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        make(&disk).unwrap();
        let file = File::options().write(true).open(&disk).unwrap();
        let mut tar = tar::Builder::new(file);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            if name.ends_with("link") {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, "/etc/passwd").unwrap();
            } else {
                tar.append_data(&mut header, name, content.as_bytes()).unwrap();
            }
        }
        let mut file = tar.into_inner().unwrap();
        file.seek(SeekFrom::End(-5)).unwrap();
        file.write_all(end).unwrap();
        read(&disk)
    }

    fn report(more: &str) -> String {
        let plain = "\"grader\":{},\"task\":\"task1\",\"submission\":\"\",\"student\":\"\",\"score\":99,\"execution_time\":0,\
            \"output\":\"\",\"output_format\":\"\",\"visibility\":\"\",\"stdout_visibility\":\"\",\"tests\":[],\"extra_data\":{}";
        format!("{{\"schema\":3,\"exit_code\":0,{plain}{more}}}")
    }

    #[test]
    fn a_whole_result_is_taken_without_what_it_says_of_marks() {
        let run = serde_json::to_string(&Run::default()).unwrap();
        let files = [("./code", "0\n"), ("./report.json", &report("")), ("./runs/run-1.json", &run), ("./stderr", "")];
        let results = disk(&files, WHOLE).unwrap();
        assert_eq!((results.exit_code, results.runs.len(), results.error), (0, 1, None));
    }

    #[test]
    fn what_is_not_whole_not_known_twice_there_or_no_file_is_refused() {
        let (fine, code) = (report(""), ("code", "0"));
        let refused = |files: &[(&str, &str)], why: &str| {
            let said = disk(files, WHOLE).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        assert!(disk(&[code, ("report.json", &fine)], b"halfw").unwrap_err().contains("ended before"));
        refused(&[code], "no report");
        refused(&[("report.json", &fine)], "no exit code");
        refused(&[code, code], "twice");
        refused(
            &[("../../etc/cron.d/x", ""); 1].as_slice().iter().map(|_| ("passwd", "")).collect::<Vec<_>>(),
            "not known",
        );
        refused(&[("code-link", "")], "no file");
        refused(&[("code", "300")], "code: ");
        refused(&[code, ("report.json", &report(",\"root\":1"))], "unknown field `root`");
        refused(&[("code", "1"), ("report.json", &fine)], "exit code 0 instead of 1");
        refused(&[code, ("report.json", "\u{1b}")], "report.json: ");
        let mut run = serde_json::to_value(Run::default()).unwrap();
        run["host"]["more"] = 1.into();
        refused(&[code, ("report.json", &fine), ("runs/run-1.json", &run.to_string())], "unknown field \"more\"");
        refused(&[("runs/run-2.json", "{}")], "not known");
    }
}
