//! Output: results to stdout, errors and warnings to stderr.

pub mod advice;
pub mod escape;
pub mod failure;
pub mod sequence;
pub mod svg;
pub mod table;

use std::fmt::Display;
use std::io::{self, Write};

use nsutil::error::{OrCannot, Result};
use serde::Serialize;

/// Writes to stdout and flushes.
///
/// # Errors
/// `EPIPE` when the reader has closed the pipe, `ENOSPC` …
pub fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}

/// A value as JSON for programs and terminals: JSON escapes only half of the control characters itself.
pub fn json(value: &impl Serialize, what: impl Display) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string()).or_cannot("show", what)?;
    let escaped = |letter: char| match letter {
        '\n' => "\n".to_owned(),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    Ok(text.chars().map(escaped).collect::<String>() + "\n")
}
