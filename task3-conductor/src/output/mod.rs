//! What conductor prints: to stdout what was asked for, to stderr what went wrong.

pub mod advice;
pub mod escape;
pub mod failure;
pub mod sequence;
pub mod table;

use std::fmt::Display;
use std::io::{self, Write};

use nsutil::error::{OrCannot, Result};
use serde::Serialize;

/// Writes to stdout at once.
///
/// # Errors
/// `EPIPE` when nobody reads any more, `ENOSPC` …
pub fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}

/// A value as JSON, which a person may look at in a terminal: of control characters JSON itself escapes the half only.
///
/// # Errors
/// None for what is shown here: maps have texts for keys.
pub fn json(value: &impl Serialize, what: impl Display) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string()).or_cannot("show", what)?;
    let escaped = |letter: char| match letter {
        '\n' => "\n".to_owned(),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    Ok(text.chars().map(escaped).collect::<String>() + "\n")
}
