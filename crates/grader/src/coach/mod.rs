//! What a student works with between two hand-ins: which lesson comes next, how far all are, and a screen that grades on each save.
//!
//! Nothing here judges. A lesson counts as written when its section says something else than `todo`; whether it is right says
//! `grade taskN`, and [`watch`] starts that.

mod lesson;
mod screen;
pub mod watch;

use crate::error::Result;
use crate::handout::workspace::Workspace;
use crate::report::text::wrapped;
use crate::report::write;
use crate::task::Task;

use lesson::Lesson;

/// Say which lesson is to be written next
#[derive(Debug, Clone, clap::Args)]
pub struct Next {}

/// List all lessons, and whether they are written
#[derive(Debug, Clone, clap::Args)]
pub struct Progress {}

impl Next {
    /// Prints it; the exit code is 0 when there is none.
    ///
    /// # Errors
    /// `Exit::Usage` outside of a workspace, and for one whose sections cannot be read.
    pub fn run(&self) -> Result<u8> {
        let all = lesson::all(&Workspace::in_any_edition()?)?;
        write(None, &next(&all))?;
        Ok(u8::from(all.iter().any(|lesson| !lesson.is_written)))
    }
}

impl Progress {
    /// Prints them; the exit code is 0 when all are written.
    ///
    /// # Errors
    /// Those of [`Next::run`].
    pub fn run(&self) -> Result<u8> {
        let all = lesson::all(&Workspace::in_any_edition()?)?;
        write(None, &progress(&all))?;
        Ok(u8::from(all.iter().any(|lesson| !lesson.is_written)))
    }
}

/// The lesson that is to be written next, and what to read for it.
fn next(all: &[Lesson]) -> String {
    let Some(lesson) = all.iter().find(|lesson| !lesson.is_written) else {
        return "All lessons are written: `make check-task1` to `make check-task4` say whether they are right.\n"
            .to_owned();
    };
    let mut text = format!("Lesson {} ({} marks): {}\n\n", lesson.number, lesson.marks, lesson.title);
    text += &wrapped("  write   ", &lesson.place);
    text += &wrapped("  read    ", &lesson.sheet.display().to_string());
    text += &wrapped("  checks  ", &lesson.checks.join(" "));
    text += &wrapped(
        "  then    ",
        &format!("make check-{}, or make watch TASK={}", lesson.task.id(), lesson.task.number()),
    );
    text
}

/// All lessons, a line each, task by task.
fn progress(all: &[Lesson]) -> String {
    let mut text = String::new();
    for task in Task::ALL {
        let lessons: Vec<&Lesson> = all.iter().filter(|lesson| lesson.task == task).collect();
        let written = lessons.iter().filter(|lesson| lesson.is_written).count();
        text += &format!("{task}: {written} of {} lessons written\n", lessons.len());
        for lesson in lessons {
            let mark = if lesson.is_written { 'x' } else { ' ' };
            let head = format!("  [{mark}] {:<4} {:>2} marks  ", lesson.number, lesson.marks);
            text += &wrapped(&head, &format!("{} ({})", lesson.title, lesson.place));
        }
    }
    text
}
