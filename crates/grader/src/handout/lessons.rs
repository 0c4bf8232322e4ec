//! Where the lessons of a submission in C or bash are.
//!
//! A hand-in without marked sections is of another handout: its checks speak of no lesson.

use std::path::Path;

use crate::handout::section::by_name;
use crate::judge;
use crate::record::Run;
use crate::rubric::Rubric;

/// Gives the checks of `rubric` the lessons that `program` has sections for, and the place of each, below `origin`.
pub fn name(rubric: &mut Rubric, program: &Path, origin: &Path) {
    let source = std::fs::read_to_string(program).unwrap_or_default();
    let sections = by_name::sections(program, &source).unwrap_or_default();
    let shown = program.strip_prefix(origin).unwrap_or(program).display().to_string();
    name_all(rubric);
    for check in &mut rubric.checks {
        let section = sections.iter().find(|section| check.lesson.as_ref() == Some(&section.lesson));
        check.place = section.map(|section| format!("{shown}:{}", section.line(&source)));
        check.lesson = check.lesson.take().filter(|_| section.is_some());
    }
}

/// Gives the checks of `rubric` their lessons when a program of `runs` said that it holds some that are not written.
pub fn name_where_told(rubric: &mut Rubric, runs: &[Run]) {
    let mut named = rubric.clone();
    name_all(&mut named);
    if judge::tells_of_unwritten_lessons(runs, &named) {
        *rubric = named;
    }
}

/// Lessons are the same in all editions.
fn name_all(rubric: &mut Rubric) {
    let Ok(ours) = Rubric::of(rubric.task) else { return };
    for check in &mut rubric.checks {
        check.lesson = ours.check(&check.id).and_then(|ours| ours.lesson.clone());
    }
}
