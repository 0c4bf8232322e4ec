//! Reading a transcript line by line: which line of the reference it is, and which process wrote it.
//!
//! A right program may print another process id or host name, so the reference has a named blank in each such place.
//! What stands there is never waved through as "some digits": the judge compares it with what the kernel said of the
//! process that wrote the line, at the moment it wrote it. Here the texts are only laid side by side: [`lines`] cuts
//! what a run wrote into lines and remembers the writer of each, [`align`] finds the best way to read them as the
//! reference, and says which lines are missing, which are too many, and what stands in the blanks.
//!
//! Look: `grade task1 --diff`.

use crate::escape::without_escapes;
use crate::record::{EventKind, Run};
use crate::rubric::{BlankKind, Blanks, Normalise, Reference};

/// One line that a run wrote to its stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the output, from 1.
    pub number: usize,
    /// As it was written, without the end of line.
    pub raw: String,
    /// As it is compared.
    pub text: String,
    /// The event of the run that wrote its first character; none when only the output was kept.
    pub event: Option<usize>,
}

/// One line of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A line between two parts, as the reference draws it.
    Separator(String),
    /// A line with text, and blanks in it.
    Text(Vec<Piece>),
    /// Any number of lines in any order, under this label.
    Entries(String),
}

/// A part of a line of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Literal(String),
    /// A blank: its label and form.
    Blank(String, BlankKind),
}

/// One row of the two texts side by side. `item` and `line` are places in the lists given to [`align`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The line is that item of the reference; with what stands in each blank.
    Match {
        /// Place in the reference.
        item: usize,
        /// Place in the output.
        line: usize,
        /// Label and text of each blank.
        blanks: Vec<(String, String)>,
    },
    /// The line begins as that item does, but a blank holds something of another form.
    Malformed {
        /// Place in the reference.
        item: usize,
        /// Place in the output.
        line: usize,
    },
    /// No line is that item.
    Missing {
        /// Place in the reference.
        item: usize,
    },
    /// That line is no item.
    Extra {
        /// Place in the output.
        line: usize,
    },
}

/// The lines that `run` wrote to stdout, as they are compared.
pub fn lines(run: &Run, normalise: Normalise) -> Vec<Line> {
    let mut pieces: Vec<(Option<usize>, &str)> = Vec::new();
    for (at, event) in run.events.iter().enumerate() {
        if let EventKind::Wrote { stream: 1, text } = &event.what {
            pieces.push((Some(at), text));
        }
    }
    if pieces.is_empty() {
        pieces.push((None, &run.output.stdout));
    }

    let mut found: Vec<Line> = Vec::new();
    let mut open: Option<Line> = None;
    let mut number = 0;
    for (event, text) in pieces {
        for part in text.split_inclusive('\n') {
            let line = open.get_or_insert_with(|| {
                number += 1;
                Line { number, raw: String::new(), text: String::new(), event }
            });
            line.raw.push_str(part.trim_end_matches(['\n', '\r']));
            if part.ends_with('\n') {
                found.extend(open.take());
            }
        }
    }
    found.extend(open);
    for line in &mut found {
        line.text = normalised(&line.raw, normalise);
    }
    if normalise.empty_lines {
        found.retain(|line| !line.text.is_empty());
    }
    found
}

/// `text` cut into the items of a reference.
pub fn items(reference: &Reference) -> Vec<Item> {
    let normalise = reference.blanks.normalise;
    let lines = reference.text.lines().map(|line| normalised(line, normalise));
    lines.filter(|line| !line.is_empty()).map(|line| item(&line, &reference.blanks)).collect()
}

/// One line without what never counts.
pub fn normalised(raw: &str, normalise: Normalise) -> String {
    let mut text = if normalise.colours { without_escapes(raw) } else { raw.to_owned() };
    if normalise.trailing_space {
        text.truncate(text.trim_end().len());
    }
    text
}

/// Whether a line only separates: at least three dashes or underscores, and nothing else but blanks.
pub fn is_separator(text: &str) -> bool {
    let strokes = text.chars().filter(|c| matches!(c, '-' | '_')).count();
    strokes >= 3 && text.chars().all(|c| matches!(c, '-' | '_' | ' '))
}

/// Whether a line separates, or begins as a line with text in it of `items` does.
pub fn is_like_one_of(items: &[Item], text: &str) -> bool {
    let is_like = |item: &Item| matches!(item, Item::Text(pieces) if !matches!(fill(pieces, text), Filled::No));
    is_separator(text) || items.iter().any(is_like)
}

/// The reading of `lines` as `items` that leaves the fewest lines over.
pub fn align(items: &[Item], lines: &[Line], normalise: Normalise) -> Vec<Row> {
    // cost[i][j]: the cheapest reading of lines j.. as items i.. ; filled from the end, read from the start.
    let (rows, columns) = (items.len() + 1, lines.len() + 1);
    let mut cost = vec![u32::MAX; rows * columns];
    let at = |i: usize, j: usize| i * columns + j;
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            cost[at(i, j)] = match (items.get(i), lines.get(j)) {
                (None, None) => 0,
                (item, line) => steps(item, line, normalise)
                    .into_iter()
                    .flatten()
                    .map(|step| step.cost + cost[at(i + step.items, j + step.lines)])
                    .min()
                    .unwrap_or(0),
            };
        }
    }

    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while i < items.len() || j < lines.len() {
        let best = steps(items.get(i), lines.get(j), normalise)
            .into_iter()
            .flatten()
            .min_by_key(|step| step.cost + cost[at(i + step.items, j + step.lines)]);
        let Some(step) = best else { break };
        match step.reading {
            Reading::Match(blanks) => found.push(Row::Match { item: i, line: j, blanks }),
            Reading::Malformed => found.push(Row::Malformed { item: i, line: j }),
            Reading::Missing => found.push(Row::Missing { item: i }),
            Reading::Extra => found.push(Row::Extra { line: j }),
            Reading::End => {}
        }
        (i, j) = (i + step.items, j + step.lines);
    }
    found
}

/// One way to go on reading.
struct ReadingStep {
    reading: Reading,
    cost: u32,
    items: usize,
    lines: usize,
}

enum Reading {
    Match(Vec<(String, String)>),
    Malformed,
    Missing,
    Extra,
    /// The region of entries is over; takes no line.
    End,
}

/// What can be made of the next item and the next line, the best first where two cost the same.
fn steps(item: Option<&Item>, line: Option<&Line>, normalise: Normalise) -> [Option<ReadingStep>; 3] {
    const SEPARATOR: u32 = 1;
    const MALFORMED: u32 = 3;
    const TEXT: u32 = 4;

    let separates = |line: &Line| normalise.separators && is_separator(&line.text);
    let both = match (item, line) {
        (Some(Item::Separator(_)), Some(line)) if separates(line) => {
            Some(ReadingStep { reading: Reading::Match(Vec::new()), cost: 0, items: 1, lines: 1 })
        }
        (Some(Item::Text(pieces)), Some(line)) => match fill(pieces, &line.text) {
            Filled::Yes(blanks) => Some(ReadingStep { reading: Reading::Match(blanks), cost: 0, items: 1, lines: 1 }),
            Filled::Malformed => Some(ReadingStep { reading: Reading::Malformed, cost: MALFORMED, items: 1, lines: 1 }),
            Filled::No => None,
        },
        (Some(Item::Entries(label)), Some(line)) if !separates(line) => {
            let entry = vec![(label.clone(), line.text.trim().to_owned())];
            Some(ReadingStep { reading: Reading::Match(entry), cost: 0, items: 0, lines: 1 })
        }
        _ => None,
    };
    let skip_item = item.map(|item| match item {
        Item::Separator(_) => ReadingStep { reading: Reading::Missing, cost: SEPARATOR, items: 1, lines: 0 },
        Item::Text(_) => ReadingStep { reading: Reading::Missing, cost: TEXT, items: 1, lines: 0 },
        Item::Entries(_) => ReadingStep { reading: Reading::End, cost: 0, items: 1, lines: 0 },
    });
    let skip_line = line.map(|line| {
        let cost = if separates(line) { SEPARATOR } else { TEXT };
        ReadingStep { reading: Reading::Extra, cost, items: 0, lines: 1 }
    });
    [both, skip_item, skip_line]
}

/// How well a line fits an item.
enum Filled {
    Yes(Vec<(String, String)>),
    Malformed,
    No,
}

/// Reads `text` as `pieces`.
fn fill(pieces: &[Piece], text: &str) -> Filled {
    let mut rest = text;
    let mut blanks = Vec::new();
    let malformed = |blanks: &[(String, String)], literal_seen: bool| {
        if literal_seen || !blanks.is_empty() { Filled::Malformed } else { Filled::No }
    };
    let mut literal_seen = false;
    let mut pieces = pieces.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                Some(after) => (rest, literal_seen) = (after, true),
                None => return malformed(&blanks, literal_seen),
            },
            Piece::Blank(label, kind) => {
                let end = match pieces.peek() {
                    Some(Piece::Literal(next)) if *kind != BlankKind::Duration => rest.find(next.as_str()),
                    // The unit belongs to a duration, and the judge reads it: any unit may follow.
                    Some(Piece::Literal(_)) => {
                        pieces.next();
                        Some(rest.len())
                    }
                    _ => Some(rest.len()),
                };
                let Some(value) = end.and_then(|end| rest.get(..end)) else { return malformed(&blanks, literal_seen) };
                if !has_form(value, *kind) {
                    return malformed(&blanks, literal_seen);
                }
                blanks.push((label.clone(), value.to_owned()));
                rest = rest.get(value.len()..).unwrap_or("");
            }
        }
    }
    match rest {
        "" => Filled::Yes(blanks),
        _ => malformed(&blanks, literal_seen && !blanks.is_empty()),
    }
}

/// Whether `value` can stand in a blank of that kind.
fn has_form(value: &str, kind: BlankKind) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match kind {
        BlankKind::Pid => digits(value) && !value.starts_with('0'),
        BlankKind::Number => digits(value),
        BlankKind::Name => !value.is_empty() && !value.contains(char::is_whitespace),
        BlankKind::Duration => milliseconds(value).is_some(),
        BlankKind::Entries => true,
    }
}

/// Reads `1440 ms`, `1.4 s` or `1440778 us` as milliseconds.
pub fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)?;
    let factor = match unit.trim() {
        "ns" => 1e-6,
        "us" | "µs" | "μs" => 1e-3,
        "ms" => 1.0,
        "s" | "seconds" => 1e3,
        _ => return None,
    };
    Some(value * factor)
}

/// Reads one line of the reference.
fn item(line: &str, blanks: &Blanks) -> Item {
    if blanks.normalise.separators && is_separator(line) {
        return Item::Separator(line.to_owned());
    }
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some((literal, label, after)) = next_blank(rest) {
        let kind = blanks.by_label.get(label).map_or(BlankKind::Name, |blank| blank.kind);
        if kind == BlankKind::Entries && literal.is_empty() && after.is_empty() && pieces.is_empty() {
            return Item::Entries(label.to_owned());
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        pieces.push(Piece::Blank(label.to_owned(), kind));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Item::Text(pieces)
}

/// The text before the next blank, its label, and the text after it.
fn next_blank(text: &str) -> Option<(&str, &str, &str)> {
    let (literal, rest) = text.split_once('<')?;
    let (label, after) = rest.split_once('>')?;
    Some((literal, label, after))
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Item::Separator(line) => f.write_str(line),
            Item::Entries(label) => write!(f, "<{label}>"),
            Item::Text(pieces) => pieces.iter().try_for_each(|piece| match piece {
                Piece::Literal(text) => f.write_str(text),
                Piece::Blank(label, _) => write!(f, "<{label}>"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rubric::Rubric;
    use crate::task::Task;

    const ALL: Normalise = Normalise { colours: true, trailing_space: true, empty_lines: true, separators: true };

    fn output(text: &str) -> Vec<Line> {
        let mut run = Run::default();
        run.output.stdout = text.to_owned();
        lines(&run, ALL)
    }

    fn reference(task: Task) -> Vec<Item> {
        items(&Rubric::of(task).unwrap().reference)
    }

    fn faults(rows: &[Row]) -> Vec<&Row> {
        rows.iter().filter(|row| !matches!(row, Row::Match { .. })).collect()
    }

    const RIGHT: &str = "---\nParent Process PID: 9\nParent Hostname: h\n---\nChild1 Process PID: 1\nChild1 Hostname: \
        c\n---\nParent Process PID: 9\nParent Hostname: h\n---\nChild2 Process PID: 2\nChild2 Hostname: \
        c\n---\nParent Process PID: 9\nParent Hostname: h\n---\n";

    #[test]
    fn a_right_transcript_fits_and_gives_what_stands_in_its_blanks() {
        let rows = align(&reference(Task::Task1), &output(RIGHT), ALL);
        assert_eq!(faults(&rows), Vec::<&Row>::new());
        let child2 = rows.iter().find_map(|row| match row {
            Row::Match { blanks, .. } => blanks.iter().find(|(label, _)| label == "child2-pid"),
            _ => None,
        });
        assert_eq!(child2.map(|(_, value)| value.as_str()), Some("2"));
    }

    #[test]
    fn a_block_in_the_wrong_place_is_missing_there_and_too_many_elsewhere() {
        let child1 = "Child1 Process PID: 1\nChild1 Hostname: c\n---\n";
        let moved = RIGHT.replacen(child1, "", 1) + child1;
        let rows = align(&reference(Task::Task1), &output(&moved), ALL);
        let missing = rows.iter().filter(|row| matches!(row, Row::Missing { .. })).count();
        let extra = rows.iter().filter(|row| matches!(row, Row::Extra { .. })).count();
        assert!(missing >= 2 && extra >= 2, "{rows:?}");
    }

    #[test]
    fn a_value_of_another_form_is_malformed_and_not_missing() {
        let rows = align(
            &reference(Task::Task1),
            &output(&RIGHT.replace("Child2 Process PID: 2", "Child2 Process PID: -1")),
            ALL,
        );
        assert!(matches!(faults(&rows)[..], [Row::Malformed { .. }]), "{rows:?}");
    }

    #[test]
    fn entries_come_in_any_number_and_the_unit_is_kept_with_the_time() {
        let text = "\u{1b}[32mOutput Subtask 2a\u{1b}[0m\nProcess PID: 7\nChild Process PID: 8\n- - - - -\n\
            Files/Directories in root directory: \nlib\n.\n..\ncontainer_prog\n- - - - -\n______\n\
            \nOutput Subtask 2b\nProcess PID: 1\nChild Process PID: 2\n- - - - -\n\
            Files/Directories in root directory:\n- - - - -\n\
            Hostname within container: new_hostname\nComputation Benchmark:\nTime Taken: 1.4 s\n\
            Value (Ignore): 107375219085276240\nHostname in the host: cs695\n______\n\
            Output Subtask 2c\nProcess PID: 1\nChild Process PID: 2\n- - - - -\n\
            Files/Directories in root directory:\nlib\n- - - - -\n\
            Computation Benchmark:\nTime Taken: 2866732 ms\nValue (Ignore): 1\n";
        let rows = align(&reference(Task::Task2), &output(text), ALL);
        assert_eq!(faults(&rows), Vec::<&Row>::new());
        let blanks = || {
            rows.iter().flat_map(|row| match row {
                Row::Match { blanks, .. } => blanks.as_slice(),
                _ => &[],
            })
        };
        assert_eq!(blanks().filter(|(label, _)| label == "entries").count(), 5);
        assert!(blanks().any(|(label, value)| label == "time-2b" && milliseconds(value) == Some(1400.0)));
    }

    #[test]
    fn each_line_knows_the_process_that_began_it() {
        use crate::record::{Event, ProcessState};
        let wrote = |pid, text: &str| Event {
            at: std::time::Duration::ZERO,
            pid,
            state: ProcessState::default(),
            what: EventKind::Wrote { stream: 1, text: text.to_owned() },
        };
        let run = Run { events: vec![wrote(7, "one\r\ntw"), wrote(8, "o\nthree")], ..Run::default() };
        let found: Vec<_> = lines(&run, ALL).into_iter().map(|line| (line.text, line.event)).collect();
        assert_eq!(found, [("one".into(), Some(0)), ("two".into(), Some(0)), ("three".into(), Some(1))]);
    }
}
