//! Steps drawn as a sequence: a column for each process, a row for each system call, in the order in which they were made.
//!
//! Look: `conductor run --explain=birth.svg --rm IMAGE NAME -- true`, then open the file in a browser.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nsutil::error::{OrCannot, Result};
use nsutil::step::journal::{Entry, Journal};

const WIDTH: usize = 420;
const HEIGHT: usize = 20;
const TOP: usize = 60;
/// As many letters as fit in a column.
const LETTERS: usize = 54;

/// A drawing of all steps from here on.
#[derive(Debug)]
pub struct Drawing {
    journal: Journal,
    file: File,
    path: PathBuf,
}

impl Drawing {
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
    let (width, height) = (WIDTH * columns.len().max(1), TOP + HEIGHT * (entries.len() + 1));
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>{}</title>
<style>
svg {{ color-scheme: light dark; color: CanvasText; background: Canvas; font: 12px monospace; }}
text {{ fill: currentColor; }} .head {{ font-weight: bold; }} line, path {{ stroke: currentColor; fill: none; }}
.life {{ opacity: .3; }}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8"/></marker></defs>
"#,
        escaped(title)
    );
    for (nth, first) in columns.iter().enumerate() {
        let x = nth * WIDTH + 10;
        let name = match (nth, first.own_pid == first.pid) {
            (0, _) => format!("conductor, process {}", first.pid),
            (_, true) => format!("process {}", first.pid),
            (_, false) => format!("process {}, which sees itself as {}", first.pid, first.own_pid),
        };
        let start = entries.iter().position(|entry| entry.pid == first.pid).unwrap_or_default();
        let end = entries.iter().rposition(|entry| entry.pid == first.pid).unwrap_or_default();
        let _ = write!(
            svg,
            "<text class=\"head\" x=\"{x}\" y=\"{}\">{}</text>\n<line class=\"life\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>\n",
            TOP - 24,
            escaped(&name),
            y(start) - HEIGHT / 2,
            y(end) + HEIGHT / 2,
        );
    }
    let mut known = 1;
    for (row, entry) in entries.iter().enumerate() {
        let (column, y) = (column_of(entry.pid), y(row));
        let x = column * WIDTH + 18;
        if column == known {
            // Whoever made it is the last to have called clone3 before.
            let parent = entries.iter().take(row).rfind(|earlier| earlier.call.starts_with("clone3"));
            let from = parent.map_or(0, |parent| column_of(parent.pid)) * WIDTH + 10;
            let at = y - HEIGHT / 2 + 2;
            let to = column * WIDTH + 8;
            let _ =
                writeln!(svg, "<line x1=\"{from}\" y1=\"{at}\" x2=\"{to}\" y2=\"{at}\" marker-end=\"url(#head)\"/>");
            known += 1;
        }
        let _ = writeln!(
            svg,
            "<g><title>{}\n{}</title><text x=\"{x}\" y=\"{}\">{}</text></g>",
            escaped(&entry.call),
            escaped(&entry.why),
            y + 4,
            escaped(&shortened(&entry.call)),
        );
    }
    svg + "</svg>\n"
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

/// What XML gives a meaning to, and characters that it forbids.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, letter| {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
        safe
    })
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
