//! `class.html`: how the class did, in one file that needs no network and no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::marks::{Marks, StudentRow, TaskCell};
use super::sheets::ids_of;
use super::stored::StoredCheck;
use crate::escape::drawn;
use crate::judge::Status;

/// The look of all pages: light and dark, screen and print.
const STYLE: &str = include_str!("page.css");
/// Size of a histogram, in pixels.
const WIDTH: usize = 300;
const HEIGHT: usize = 130;
/// Room below the bars for the marks.
const FOOT: usize = 18;

/// A page around `body`.
pub fn around(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (drawn(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
    .into_string()
}

/// The whole page.
pub fn page(marks: &Marks) -> String {
    let open = marks.rows.iter().filter(|row| !row.is_final()).count();
    let body = html! {
        h1 { "Class report" }
        p {
            (marks.rows.len()) " students, " (marks.rows.len() - open) " with a final report, "
            (marks.max()) " marks at most. Grading took " (marks.time().as_secs().div_ceil(60)) " min in all."
        }
        @for nth in 0..marks.tasks.len() { (histogram(marks, nth)) }
        @if open > 0 { (not_final(marks)) }
        (hardest(marks))
        (students(marks))
        @for nth in 0..marks.tasks.len() { (heat_map(marks, nth)) }
        (remarks(marks))
    };
    around("Class report", &body)
}

/// How many students have how many marks.
fn histogram(marks: &Marks, nth: usize) -> Markup {
    let Some((task, max)) = marks.tasks.get(nth) else { return html! {} };
    let scores: Vec<u32> = marks.rows.iter().filter_map(|row| row.tasks.get(nth)).map(TaskCell::score).collect();
    // Ten bars, the last one for full marks alone.
    let bars: Vec<(String, usize)> = (0..=10)
        .map(|tenth| {
            let (from, to) = (max * tenth / 10, max * (tenth + 1) / 10);
            let count = scores.iter().filter(|score| (from..to.max(from + 1)).contains(score)).count();
            let last = to.saturating_sub(1).max(from);
            (if last == from || tenth == 10 { from.to_string() } else { format!("{from}-{last}") }, count)
        })
        .collect();
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let width = WIDTH / bars.len();
    let said: Vec<String> =
        bars.iter().filter(|(_, count)| *count > 0).map(|(marks, count)| format!("{marks} marks: {count}")).collect();
    html! {
        figure {
            figcaption { (task) ", " (max) " marks" }
            svg role="img" aria-label=(format!("{task}: {}", said.join("; "))) width=(WIDTH) height=(HEIGHT + FOOT) {
                line class="line" x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                @for (at, (marks, count)) in bars.iter().enumerate() {
                    @let height = count * (HEIGHT - 16) / most;
                    rect class="bar" x=(at * width + 2) y=(HEIGHT - height) width=(width - 4) height=(height) {
                        title { (marks) " marks: " (count) }
                    }
                    @if *count > 0 {
                        text x=(at * width + width / 2) y=(HEIGHT - height - 4) text-anchor="middle" { (count) }
                    }
                    @if at % 2 == 0 {
                        text x=(at * width + width / 2) y=(HEIGHT + 14) text-anchor="middle" {
                            (marks.split('-').next().unwrap_or_default())
                        }
                    }
                }
            }
        }
    }
}

fn not_final(marks: &Marks) -> Markup {
    html! {
        h2 { "Not final" }
        ul {
            @for row in marks.rows.iter().filter(|row| !row.is_final()) {
                li { (linked(row)) ": " (drawn(&row.remarks().first().cloned().unwrap_or_default())) }
            }
        }
    }
}

/// Every check with the share of the class that passed it.
fn hardest(marks: &Marks) -> Markup {
    html! {
        h2 { "Checks, the hardest first" }
        table {
            thead { tr { th { "check" } th { "claim" } th { "passed" } th { "seen most often where it was lost" } th { "hint" } } }
            tbody {
                @for rate in marks.rates() {
                    tr {
                        td { (rate.task.id()) " " (rate.check.extra_data.id) }
                        td { (rate.check.extra_data.claim) }
                        td {
                            meter min="0" max=(rate.of) value=(rate.passed) aria-label=(rate.check.extra_data.claim) {}
                            br; (rate.passed) " of " (rate.of)
                        }
                        td { @if let Some((seen, count)) = rate.commonest() { (drawn(seen)) " (" (count) ")" } }
                        td { @if rate.passed < rate.of { (rate.check.extra_data.hints.first().map_or("", String::as_str)) } }
                    }
                }
            }
        }
    }
}

fn students(marks: &Marks) -> Markup {
    html! {
        h2 { "Students" }
        table {
            thead {
                tr {
                    th { "roll" } th { "name" } th.n { "marks" }
                    @for (task, _) in &marks.tasks { th.n { (task) } }
                    th { "status" }
                }
            }
            tbody {
                @for row in &marks.rows {
                    tr {
                        td { (linked(row)) } td { (drawn(&row.name)) } td.n { (row.total()) }
                        @for cell in &row.tasks { td.n { (cell.score()) } }
                        td { @if row.is_final() { "final" } @else { "not final" } }
                    }
                }
            }
        }
    }
}

/// Students by checks. A letter says what the colour says.
fn heat_map(marks: &Marks, nth: usize) -> Markup {
    let ids = ids_of(marks, nth);
    let Some((task, _)) = marks.tasks.get(nth).filter(|_| !ids.is_empty()) else { return html! {} };
    html! {
        h2 { (task) ", check by check" }
        p { "P passed, h part of it, F failed, b not tried, t not written yet, ? not decided, - nothing to judge" }
        div.wide tabindex="0" role="region" aria-label=(format!("{task}, check by check")) {
            table.map {
                thead { tr { th {} @for id in &ids { th scope="col" { span { (id) } } } } }
                tbody {
                    @for row in &marks.rows {
                        tr {
                            th scope="row" { (linked(row)) }
                            @for id in &ids { (heat(row.tasks.get(nth), id)) }
                        }
                    }
                }
            }
        }
    }
}

fn heat(cell: Option<&TaskCell>, id: &str) -> Markup {
    let check = cell.and_then(|cell| cell.checks().iter().find(|check| check.extra_data.id == id));
    let letter = match check.map(|check| check.extra_data.verdict) {
        None => "-",
        Some(Status::Passed) => "P",
        Some(Status::Partial) => "h",
        Some(Status::Failed) => "F",
        Some(Status::NotStarted) => "t",
        Some(Status::Blocked) => "b",
        Some(Status::Undecided | Status::Skipped) => "?",
    };
    html! { td class=(check.map_or("none", class_of)) { (letter) } }
}

/// The class of style for a check's verdict.
pub fn class_of(check: &StoredCheck) -> &'static str {
    match check.extra_data.verdict {
        Status::Passed => "passed",
        Status::Partial => "partial",
        Status::Failed => "failed",
        Status::NotStarted => "not-started",
        Status::Blocked => "blocked",
        Status::Undecided => "undecided",
        Status::Skipped => "skipped",
    }
}

fn remarks(marks: &Marks) -> Markup {
    html! {
        h2 { "Remarks" }
        p { "What was done to find and prepare each hand-in, and what the box refused to it. None of this costs marks by itself." }
        ul {
            @for row in marks.rows.iter().filter(|row| !row.remarks().is_empty()) {
                li { (linked(row)) ul { @for remark in row.remarks() { li { (drawn(&remark)) } } } }
            }
        }
    }
}

fn linked(row: &StudentRow) -> Markup {
    // A relative link: a name that looks like a scheme or begins with a slash is below this folder all the same.
    html! { a href=(format!("./students/{}/feedback.html", row.id)) { (row.id) } }
}
