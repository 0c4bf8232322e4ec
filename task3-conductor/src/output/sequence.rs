//! Steps drawn as a sequence: a column for each process, a row for each system call, in the order in which they were made.
//!
//! Look: `conductor run --explain=birth.svg --rm IMAGE NAME -- true`, then open the file in a browser.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nsutil::error::{OrCannot, Result};
use nsutil::step::journal::{Entry, Journal};

use super::svg::Drawing;

const WIDTH: usize = 420;
const HEIGHT: usize = 20;
const TOP: usize = 60;
/// As many letters as fit in a column.
const LETTERS: usize = 54;

/// A recording of all steps from here on, to be drawn.
#[derive(Debug)]
pub struct Recording {
    journal: Journal,
    file: File,
    path: PathBuf,
}

impl Recording {
    /// Makes the file, so that it is known before the first step whether it can be written, and begins to listen.
    ///
    /// # Errors
    /// Those of open(2) and socketpair(2).
    pub fn begin(path: &Path) -> Result<Self> {
        let file = File::create(path).or_cannot("write", path.display())?;
        Ok(Self { journal: Journal::begin()?, file, path: path.to_owned() })
    }

    /// Draws what was done.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn finish(mut self) -> Result<()> {
        let title = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let drawn = svg(&format!("conductor {}", title.join(" ")), &self.journal.entries()?);
        self.file.write_all(drawn.as_bytes()).or_cannot("write", self.path.display())
    }
}

/// Steps as SVG. What a process did is a row in its column; its reason is shown where the pointer rests.
fn svg(title: &str, entries: &[Entry]) -> String {
    let mut columns: Vec<&Entry> = Vec::new();
    for entry in entries {
        if !columns.iter().any(|column| column.pid == entry.pid) {
            columns.push(entry);
        }
    }
    let column_of = |pid: i32| columns.iter().position(|column| column.pid == pid).unwrap_or_default();
    let mut svg = Drawing::new(title, WIDTH * columns.len().max(1), TOP + HEIGHT * (entries.len() + 1));
    for (nth, first) in columns.iter().enumerate() {
        let x = nth * WIDTH + 10;
        let name = match (nth, first.own_pid == first.pid) {
            (0, _) => format!("conductor, process {}", first.pid),
            (_, true) => format!("process {}", first.pid),
            (_, false) => format!("process {}, which sees itself as {}", first.pid, first.own_pid),
        };
        let start = entries.iter().position(|entry| entry.pid == first.pid).unwrap_or_default();
        let end = entries.iter().rposition(|entry| entry.pid == first.pid).unwrap_or_default();
        svg.text("head", (x, TOP - 24), &name);
        svg.line("life", (x, y(start) - HEIGHT / 2), (x, y(end) + HEIGHT / 2));
    }
    let mut known = 1;
    for (row, entry) in entries.iter().enumerate() {
        let (column, y) = (column_of(entry.pid), y(row));
        if column == known {
            // Whoever made it is the last to have called clone3 before.
            let parent = entries.iter().take(row).rfind(|earlier| earlier.call.starts_with("clone3"));
            let from = parent.map_or(0, |parent| column_of(parent.pid));
            let at = y - HEIGHT / 2 + 2;
            svg.arrow((from * WIDTH + 10, at), (column * WIDTH + 8, at));
            known += 1;
        }
        let details = format!("{}\n{}", entry.call, entry.why);
        svg.text_with_details((column * WIDTH + 18, y + 4), &shortened(&entry.call), &details);
    }
    svg.finish()
}

fn y(row: usize) -> usize {
    TOP + row * HEIGHT
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_column_and_names_cannot_break_out() {
        let entry =
            |pid: i32, own_pid: i32, call: &str| Entry { pid, own_pid, call: call.to_owned(), why: "x".to_owned() };
        let drawn = svg("a & b", &[entry(70, 70, "clone3(CLONE_NEWPID)"), entry(71, 1, "sethostname(\"</svg>\")")]);
        assert_eq!(drawn.matches("class=\"head\"").count(), 2, "{drawn}");
        assert_eq!(drawn.matches("marker-end").count(), 1, "{drawn}");
        assert!(drawn.contains("process 71, which sees itself as 1"), "{drawn}");
        assert_eq!(drawn.matches("</svg>").count(), 1, "{drawn}");
        assert!(drawn.contains("a &amp; b"), "{drawn}");
    }
}
