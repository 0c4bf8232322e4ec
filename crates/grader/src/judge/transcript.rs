//! Checks that tasks 1 and 2 share: the transcript, the exit status, what is left behind.

use std::collections::BTreeMap;

use super::history::History;
use super::words::{end_told, first_said, list};
use super::{Finding, Outcome, Style, Why};
use crate::escape::drawn;
use crate::record::{End, Pid, ProcessState, StdoutKind};
use crate::rubric::align::{Item, Line, Piece, Row, align, is_separator, milliseconds};
use crate::rubric::{Fact, Normalise};

/// The sum of 10 000 x 10 000 calls of the C library's `rand()` seeded with 10111: the same wherever glibc is.
const RAND_SUM: &str = "107375219085276240";

/// How far a printed time may be from the observed one. A wrong unit is a factor of a thousand.
const TIME_FACTOR: f64 = 4.0;

/// One part of the transcript that one process writes.
pub(super) struct Block {
    /// What people call it.
    pub name: &'static str,
    /// A blank that stands in its first line.
    pub label: &'static str,
    /// The process whose part it is.
    pub writer: Option<Pid>,
}

/// The lines that `is_relay` wrote for the process whose block they stand in, by number, with that process if it was seen.
///
/// A line that tells the host's name is the runner's own.
pub(super) fn relayed(
    history: &History<'_>,
    blocks: &[Block],
    is_relay: impl Fn(Pid, Option<Pid>) -> bool,
) -> BTreeMap<usize, Option<Pid>> {
    let mut found = BTreeMap::new();
    let mut block: Option<&Block> = None;
    for row in &history.rows {
        let (Row::Match { item, line, .. } | Row::Malformed { item, line }) = row else { continue };
        block = blocks.iter().find(|block| has_blank(history, *item, block.label)).or(block);
        let Some(line) = history.lines.get(*line).filter(|_| !has_blank(history, *item, "host")) else { continue };
        if let (Some(Block { writer: speaker, .. }), Some(event)) = (block, history.writer(line)) {
            if Some(event.pid) != *speaker && is_relay(event.pid, *speaker) {
                found.insert(line.number, *speaker);
            }
        }
    }
    found
}

/// What the order of blocks should be.
const IN_ORDER: &str = "all blocks in order, each written by the process it speaks of";

/// Lines that are named in a report before the rest is only counted.
const SHOWN: usize = 4;

/// Judges the transcript of `history`.
///
/// `blocks`: every line of the reference is there, in its order, and each block was begun by the process it belongs
/// to. `lines`: no line says what the kernel does not, and no line is too many.
pub(super) fn judged(history: &History<'_>, blocks: &[Block], style: Style) -> Finding {
    let finding = match history.lines.is_empty() {
        // One reason for both parts is reported once.
        true => Finding::whole(Outcome::absent(IN_ORDER, "nothing was written to stdout")),
        false => Finding::parts([("blocks", in_order(history, blocks)), ("lines", every_line_true(history, style))]),
    };
    let mut finding = match history.run.stdout_kind {
        StdoutKind::Pipe if !style.is_rust => {
            Finding::whole(Outcome::Unseen("stdio buffers on a pipe, so only the terminal run is judged".to_owned()))
        }
        _ => finding,
    };
    if let Some(first) = history.chatter.first() {
        let told = format!("{} lines are not of the sample's kind, such as {:?}", history.chatter.len(), shown(first));
        finding = finding.remark(told);
    }
    let separators = |row: &&Row| match row {
        Row::Missing { item } => matches!(history.items.get(*item), Some(Item::Separator(_))),
        _ => false,
    };
    let missing = history.rows.iter().filter(separators).count();
    if missing > 0 && !history.lines.is_empty() && history.run.stdout_kind == StdoutKind::Pty {
        finding = finding.remark(format!("{missing} lines of dashes are missing"));
    }
    finding
}

fn in_order(history: &History<'_>, blocks: &[Block]) -> Outcome {
    let mut wrong = Vec::new();
    for item in history.rows.iter().filter_map(|row| missing(history, row)) {
        let elsewhere = history.rows.iter().find_map(|row| match row {
            Row::Extra { line } => history.lines.get(*line).filter(|line| same_label(item, line)),
            _ => None,
        });
        wrong.push(match elsewhere {
            Some(line) => format!("- {item}   is not in its place, but in line {}", line.number),
            None => format!("- {item}   is missing"),
        });
    }
    let mut writers: Vec<(Pid, &str)> = Vec::new();
    let mut evidence = Vec::new();
    for block in blocks {
        let mut begun = history.rows.iter().filter_map(|row| {
            let (item, line) = match row {
                // Also a line with nonsense in its blank begins the block.
                Row::Match { item, line, .. } | Row::Malformed { item, line } => (*item, history.lines.get(*line)?),
                _ => return None,
            };
            let counts = has_blank(history, item, block.label) && !is_true_report(history, row, line);
            history.writer(line).filter(|_| counts)
        });
        let Some(first) = begun.next() else { continue };
        let stranger = std::iter::once(first).chain(begun).find(|event| Some(event.pid) != block.writer);
        if let Some(event) = stranger {
            let writer = history.run.number_of(event.pid);
            wrong.push(format!("{} written by pid {writer}, not by the process it speaks of", block.name));
            evidence.push(history.evidence(event));
        } else if let Some((_, other)) = writers.iter().find(|(pid, _)| *pid == first.pid) {
            wrong.push(format!("{other} and {} are written by the same process", block.name));
            evidence.push(history.evidence(first));
        } else {
            writers.push((first.pid, block.name));
        }
    }
    if wrong.is_empty() {
        return Outcome::Held;
    }
    let observed = format!("{}: {} of the reference's lines or blocks are not in order", on(history), wrong.len());
    Outcome::Lost(Box::new(Why {
        expected: IN_ORDER.to_owned(),
        observed,
        details: shortened(wrong),
        positive: complete(history) || !evidence.is_empty(),
        evidence,
        hints: None,
    }))
}

/// Whether one process wrote the line for another, and told the truth.
fn is_true_report(history: &History<'_>, row: &Row, line: &Line) -> bool {
    let Row::Match { blanks, .. } = row else { return false };
    let is_false = |(label, value): &(String, String)| matches!(truth(history, label, value, line), Truth::No(_));
    history.relayed.contains_key(&line.number) && !blanks.iter().any(is_false)
}

/// The lines whose blanks hold what the kernel does not say, each with what should stand there.
pub(super) fn false_lines<'s>(history: &'s History<'_>, style: Style) -> Vec<(&'s Line, String)> {
    let mut wrong = Vec::new();
    for row in &history.rows {
        let Row::Match { item, line, blanks } = row else { continue };
        let (Some(item), Some(line)) = (history.items.get(*item), history.lines.get(*line)) else { continue };
        wrong.extend(corrected(history, style, item, line, blanks).map(|fact| (line, fact)));
    }
    wrong
}

/// The line as it should be; none when it is true.
fn corrected(
    history: &History<'_>,
    style: Style,
    item: &Item,
    line: &Line,
    blanks: &[(String, String)],
) -> Option<String> {
    blanks.iter().find_map(|(label, value)| {
        // The course's own program counts microseconds and calls them milliseconds.
        if !style.is_rust && fact_of(history, label) == Some(Fact::BusyTime) {
            return None;
        }
        match truth(history, label, value, line) {
            Truth::No(fact) => Some(put(item, label, &fact)),
            Truth::Yes | Truth::Unknown => None,
        }
    })
}

fn every_line_true(history: &History<'_>, style: Style) -> Outcome {
    let missing: Vec<&Item> = history.rows.iter().filter_map(|row| missing(history, row)).collect();
    let mut wrong: Vec<(&Line, String)> = Vec::new();
    let mut told = 0;
    for row in &history.rows {
        match row {
            Row::Match { blanks, .. } => told += blanks.len(),
            Row::Malformed { item, line } => {
                let (Some(item), Some(line)) = (history.items.get(*item), history.lines.get(*line)) else { continue };
                wrong.push((line, format!("- {item}   + {}", shown(line))));
            }
            Row::Extra { line } => {
                let Some(line) = history.lines.get(*line).filter(|line| !is_separator(&line.text)) else { continue };
                // A line in the wrong place is a matter of order; here it only has to be true.
                let Some((item, blanks)) = read_as(&missing, line, history.blanks.normalise) else {
                    wrong.push((line, format!("+ {}   is not in the reference", shown(line))));
                    continue;
                };
                told += blanks.len();
                let fact = corrected(history, style, item, line, &blanks);
                wrong.extend(fact.map(|fact| (line, format!("- {fact}   + {}", shown(line)))));
            }
            Row::Missing { .. } => {}
        }
    }
    let untrue = false_lines(history, style).into_iter();
    wrong.extend(untrue.map(|(line, fact)| (line, format!("- {fact}   + {}", shown(line)))));
    wrong.sort_by_key(|(line, _)| line.number);
    let evidence: Vec<_> = wrong
        .iter()
        .filter_map(|(line, _)| history.writer(line))
        .map(|event| history.evidence(event))
        .take(SHOWN)
        .collect();
    let wrong: Vec<String> = wrong.into_iter().map(|(line, what)| format!("line {}   {what}", line.number)).collect();
    let blanks = |item: &Item| matches!(item, Item::Text(pieces) if pieces.len() > 1);
    let lines = history.items.iter().filter(|item| blanks(item)).count();
    if wrong.is_empty() && told < lines {
        let observed = format!("{}: {told} of {lines} lines that tell something were written", on(history));
        return Outcome::absent("every line of the reference is there", observed);
    }
    let tells = |line: usize| history.lines.get(line).filter(|line| history.writer(line).is_none());
    let unseen = history.rows.iter().find_map(|row| match row {
        Row::Match { line, blanks, .. } if !blanks.is_empty() => tells(*line),
        _ => None,
    });
    if let (true, Some(line)) = (wrong.is_empty(), unseen) {
        return Outcome::Unseen(format!("{}: no process was seen to write line {}", on(history), line.number));
    }
    if wrong.is_empty() {
        return Outcome::Held;
    }
    Outcome::Lost(Box::new(Why {
        expected: "every line says what the kernel says of its writer".to_owned(),
        observed: format!("{}: {} lines do not", on(history), wrong.len()),
        details: shortened(wrong),
        positive: complete(history) || !evidence.is_empty(),
        evidence,
        hints: None,
    }))
}

/// Whether the line of the reference has this blank.
fn has_blank(history: &History<'_>, item: usize, label: &str) -> bool {
    match history.items.get(item) {
        Some(Item::Text(pieces)) => pieces.iter().any(|piece| matches!(piece, Piece::Blank(name, _) if name == label)),
        _ => false,
    }
}

/// The line with text that a row says is missing.
fn missing<'s>(history: &'s History<'_>, row: &Row) -> Option<&'s Item> {
    match row {
        Row::Missing { item } => history.items.get(*item).filter(|item| matches!(item, Item::Text(_))),
        _ => None,
    }
}

/// Whether all that was written is known: then a line that is not there was not written.
fn complete(history: &History<'_>) -> bool {
    matches!(history.run.end, End::Exited(_) | End::Signaled(_)) && !history.run.output.cut && !history.lines.is_empty()
}

/// The one of `items` that a line would be if it stood elsewhere, and what stands in its blanks.
fn read_as<'s>(items: &[&'s Item], line: &Line, normalise: Normalise) -> Option<(&'s Item, Vec<(String, String)>)> {
    items.iter().find_map(|item| {
        let rows = align(std::slice::from_ref(*item), std::slice::from_ref(line), normalise);
        match rows.into_iter().next()? {
            Row::Match { blanks, .. } => Some((*item, blanks)),
            _ => None,
        }
    })
}

/// `on a pipe` or `on a terminal`.
fn on(history: &History<'_>) -> &'static str {
    match history.run.stdout_kind {
        StdoutKind::Pty => "on a terminal",
        StdoutKind::Pipe => "on a pipe",
    }
}

/// A line as it may be shown: cut, and without control characters.
fn shown(line: &Line) -> String {
    let text = drawn(&line.text);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The line of the reference with the fact in its blank.
fn put(item: &Item, label: &str, fact: &str) -> String {
    item.to_string().replace(&format!("<{label}>"), fact)
}

/// The first of many lines, and how many more there are.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.truncate(SHOWN);
        lines.push(format!("… and {more} more; see --diff"));
    }
    lines
}

/// Whether a line begins as an item does.
fn same_label(item: &Item, line: &Line) -> bool {
    match item {
        Item::Text(pieces) => match pieces.first() {
            Some(crate::rubric::align::Piece::Literal(label)) => line.text.starts_with(label.as_str()),
            _ => false,
        },
        _ => false,
    }
}

/// Whether what stands in a blank is so.
enum Truth {
    Yes,
    /// The line's writer was not seen, so the kernel was not asked.
    Unknown,
    /// No; this is what should stand there.
    No(String),
}

/// Compares what stands in the blank `label` of `line` with the kernel's word on the line's writer.
fn truth(history: &History<'_>, label: &str, value: &str, line: &Line) -> Truth {
    if let Some(speaker) = history.relayed.get(&line.number) {
        return speaker.map_or(Truth::Unknown, |speaker| truth_of_relayed(history, label, value, speaker));
    }
    let Some(writer) = history.writer(line) else { return Truth::Unknown };
    let is = |fact: Option<String>| match fact {
        Some(fact) if fact != value => Truth::No(fact),
        _ => Truth::Yes,
    };
    match fact_of(history, label) {
        Some(Fact::WriterPid) => is(writer.state.inner_pids.last().map(Pid::to_string)),
        Some(Fact::WriterHostname) => is(Some(writer.state.hostname.clone()).filter(|name| !name.is_empty())),
        Some(Fact::RandSum) => is(Some(RAND_SUM.to_owned())),
        Some(Fact::ChildPid) => child_pid(history, writer.pid, &writer.state, value),
        Some(Fact::RootEntries) => root_entries(history, &writer.state, value),
        Some(Fact::BusyTime) => busy_time(history, writer.pid, value, line),
        None => Truth::Yes,
    }
}

/// The same for a line that was written later and by another: it may tell of any moment of the `speaker`'s life.
fn truth_of_relayed(history: &History<'_>, label: &str, value: &str, speaker: Pid) -> Truth {
    let moments = history.moments(speaker);
    let Some(last) = moments.last() else { return Truth::Unknown };
    match fact_of(history, label) {
        Some(Fact::WriterPid) => match last.state.inner_pids.last().map(Pid::to_string) {
            Some(pid) if pid != value => Truth::No(pid),
            _ => Truth::Yes,
        },
        Some(Fact::WriterHostname) if moments.iter().any(|moment| moment.state.hostname == value) => Truth::Yes,
        Some(Fact::WriterHostname) => Truth::No(last.state.hostname.clone()),
        Some(Fact::RandSum) if value != RAND_SUM => Truth::No(RAND_SUM.to_owned()),
        Some(Fact::ChildPid) => child_pid(history, speaker, last.state, value),
        Some(Fact::RootEntries) => root_entries(history, last.state, value),
        Some(Fact::BusyTime | Fact::RandSum) | None => Truth::Yes,
    }
}

fn fact_of(history: &History<'_>, label: &str) -> Option<Fact> {
    history.blanks.by_label.get(label).and_then(|blank| blank.fact)
}

/// The line is written by the child itself, or by its parent.
fn child_pid(history: &History<'_>, writer: Pid, state: &ProcessState, value: &str) -> Truth {
    let depth = state.inner_pids.len().saturating_sub(1);
    let mut known = Vec::new();
    for pid in history.pids().iter().copied().filter(|pid| history.parent(*pid) == Some(writer)) {
        let numbers = history.moments(pid);
        known.extend(numbers.first().and_then(|moment| moment.state.inner_pids.get(depth)).map(Pid::to_string));
    }
    // The writer may be that child: then the line before is its parent's.
    let own = state.inner_pids.last().map(Pid::to_string);
    let is_child = own.as_deref() == Some(value) && wrote_no_other(history, writer, "Process PID:");
    if known.is_empty() || is_child || known.iter().any(|pid| pid == value) {
        return Truth::Yes;
    }
    Truth::No(list(&known))
}

/// Whether `pid` wrote no line that begins with `label`.
fn wrote_no_other(history: &History<'_>, pid: Pid, label: &str) -> bool {
    let by = |line: &&Line| history.writer(line).is_some_and(|event| event.pid == pid);
    !history.lines.iter().filter(by).any(|line| line.text.starts_with(label))
}

fn root_entries(history: &History<'_>, state: &ProcessState, value: &str) -> Truth {
    let names = &history.run.after.container_root;
    // Of another root than that one it is not known what is in it.
    let elsewhere = history.run.host.container_root != Some(state.root);
    if elsewhere || names.is_empty() || matches!(value, "." | "..") || names.iter().any(|name| name == value) {
        return Truth::Yes;
    }
    Truth::No("a name that is in container_root".to_owned())
}

/// The printed time is that of the longest silence of the writer before the line, or of its CPU use.
fn busy_time(history: &History<'_>, writer: Pid, value: &str, line: &Line) -> Truth {
    let Some(printed) = milliseconds(value) else { return Truth::Yes };
    let Some(end) = history.writer(line).map(|event| event.at) else { return Truth::Yes };
    let mut moments: Vec<_> =
        history.run.events.iter().filter(|e| e.pid == writer && e.at <= end).map(|e| e.at).collect();
    moments.sort();
    let wall = moments.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(b.saturating_sub(*a).as_secs_f64() * 1e3),
        _ => None,
    });
    let wall = wall.fold(0.0, f64::max);
    let cpu = history.samples(writer).last().map_or(0.0, |sample| sample.cpu.as_secs_f64() * 1e3);
    let near = |observed: f64| printed <= observed * TIME_FACTOR && printed >= observed / TIME_FACTOR;
    // Too short to tell a unit by, or all written at once at the end.
    if wall.max(cpu) < 20.0 || near(wall) || near(cpu) {
        return Truth::Yes;
    }
    Truth::No(format!("about {:.0} ms", wall.max(cpu)))
}

/// Whether the program ended by itself with status 0.
pub(super) fn exit_status(history: &History<'_>) -> Outcome {
    let expected = "the program ends by itself, with exit status 0";
    let end = match &history.run.end {
        End::Exited(0) => return Outcome::Held,
        End::Unknown => return Outcome::Unseen("the observer lost the program".to_owned()),
        end => end_told(end),
    };
    let said = first_said(&history.run.output.stderr);
    let observed = said.map_or(end.clone(), |line| format!("{end} and said {line:?} on stderr"));
    Outcome::wrong(expected, observed, Vec::new())
}

/// What is in the box after the run and was not before it.
pub(super) fn leftovers(history: &History<'_>) -> Vec<String> {
    let (before, after) = (&history.run.before, &history.run.after);
    let mut left = Vec::new();
    let root = history.moments(history.run.root_pid).first().and_then(|moment| moment.state.inner_pids.get(1).copied());
    for (pid, command) in &after.processes {
        if !before.processes.iter().any(|(known, _)| known == pid) && Some(*pid) != root {
            left.push(format!("process {pid} ({})", drawn(command)));
        }
    }
    let lists = [
        ("mount", &before.mounts, &after.mounts),
        ("cgroup", &before.cgroups, &after.cgroups),
        ("link", &before.links, &after.links),
        ("IPC object", &before.ipc, &after.ipc),
    ];
    for (kind, before, after) in lists {
        left.extend(after.iter().filter(|name| !before.contains(name)).map(|name| format!("{kind} {}", drawn(name))));
    }
    for (name, value) in &after.settings {
        if before.settings.get(name) != Some(value) {
            left.push(format!("setting {} = {}", drawn(name), drawn(value)));
        }
    }
    left
}
