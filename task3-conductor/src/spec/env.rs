//! Environment variables, from the command line or files.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use nsutil::error::{Error, OrCannot, Result};

use crate::output::escape::quoted;

/// `KEY=VALUE`, for a process's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// What comes before the first `=`.
    pub key: String,
    /// All that comes after it.
    pub value: String,
}

/// Reads the variables of files in order: one per line; empty lines and those beginning with `#` are skipped. Quotes
/// are not special, as in Docker's files.
///
/// # Errors
/// `ENOENT` … with the path; in words with the line of an invalid variable.
pub fn of_files(files: &[impl AsRef<Path>]) -> Result<Vec<Variable>> {
    let mut all = Vec::new();
    for file in files.iter().map(AsRef::as_ref) {
        let text = fs::read_to_string(file).or_cannot("read variables from", file.display())?;
        all.extend(
            of_text(&text)
                .map_err(|(line, why)| Error::new("understand", format_args!("{}:{line}", file.display()), why))?,
        );
    }
    Ok(all)
}

/// Parses `KEY=VALUE`, or the `KEY` of a variable of the caller.
///
/// # Errors
/// In words when it is neither.
pub fn typed(text: &str) -> Result<Variable, String> {
    let of_caller = || std::env::var(text).ok().filter(|_| !text.contains('='));
    match text.parse() {
        Err(why) => of_caller().map(|value| Variable { key: text.to_owned(), value }).ok_or(why),
        parsed => parsed,
    }
}

fn of_text(text: &str) -> Result<Vec<Variable>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim_start).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| line.parse().map_err(|why| (index + 1, why))).collect()
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) && !text.contains('\0') => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(format!(
                "{} is not a variable: use KEY=VALUE, for example LANG=C.UTF-8, or the KEY of one that is set here",
                quoted(text)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_variable_a_line_and_values_are_taken_as_they_stand() {
        let text = "\u{feff}# a note\n\t # another\nA=1\r\n\n  B=\"two words\" # no note\nC=\nD=x=y\n   \n";
        let pairs: Vec<(String, String)> = of_text(text).unwrap().into_iter().map(|v| (v.key, v.value)).collect();
        let expected = [("A", "1"), ("B", "\"two words\" # no note"), ("C", ""), ("D", "x=y")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        for (text, line) in [("A=1\nPATH\n", 2), ("=x", 1), ("\n\nexport A=1", 3)] {
            let (at, why) = of_text(text).unwrap_err();
            assert_eq!(at, line, "{text:?}");
            assert!(why.contains("use KEY=VALUE"), "{why}");
        }
    }
}
