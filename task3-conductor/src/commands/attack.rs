//! `conductor attack NAME`: attack the host from inside a container, as a lesson.
//!
//! A child makes the attempts. It enters the container the way `exec` does and is confined the same way, but executes
//! no other program, so the image need not contain anything. See [`crate::attacks`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;

use nsutil::error::{OrCannot, Result};
use serde::Serialize;

use super::Format;
use crate::attacks::MARK;
use crate::attacks::lessons;
use crate::attacks::lessons::{Lesson, Verdict};
use crate::container::cgroup;
use crate::container::join;
use crate::container::plan::{Process, ProcessOptions};
use crate::output::table::table;
use crate::output::{json, say};
use crate::spec::confinement::Confinement;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Try to break out of a container: each attempt, what stopped it, and the option of `run` that would allow it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor attack web
  conductor run -d --weak chroot small weak -- sleep infinity && conductor attack weak
The attempts are harmless even if they succeed: nothing is written, and what was created is removed again.
Exit code 1: an attempt succeeded.")]
pub struct Attack {
    /// Container to attack from
    name: ContainerName,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// The result of an attempt.
#[derive(Debug, Serialize)]
struct Tried {
    #[serde(flatten)]
    lesson: Lesson,
    /// The kernel's answer.
    outcome: String,
    verdict: Verdict,
}

/// Exit code when an attempt succeeded.
const SOMETHING_SUCCEEDED: u8 = 1;

impl Attack {
    /// Makes all attempts and prints the results.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let (record, init) = store.running_container(&self.name, "attack from")?;
        let process = Process::joining(&record, ProcessOptions::default());
        // No such path exists in the container.
        let _ = MARK.set(store.container_dir(&self.name));
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_cannot("make", "a pipe")?;
        let cgroup = cgroup::of(&store.tag(&self.name))?;
        cgroup::refuse_frozen(&cgroup, &self.name)?;
        let attacker = join::visit(&init, &cgroup, &process, move || attempt_all(File::from(write)))?;
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).or_cannot("read", "the results of the attacks")?;
        attacker.wait()?;
        let outcomes: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('\t')).collect();
        let tried: Vec<Tried> = lessons::all().map(|lesson| Tried::new(lesson, &outcomes)).collect();
        let text = match self.format {
            Format::Json => json(&tried, "the attacks")?,
            Format::Table => story(&tried, record.confinement),
        };
        say(&text)?;
        Ok(if count(&tried, Verdict::GotThrough) == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(SOMETHING_SUCCEEDED)
        })
    }
}

fn attempt_all(mut out: File) -> i32 {
    for lesson in lessons::all() {
        // The parent has exited.
        if writeln!(out, "{}\t{}", lesson.name, lesson.attempt()).is_err() {
            return 1;
        }
    }
    0
}

impl Tried {
    fn new(lesson: Lesson, outcomes: &BTreeMap<&str, &str>) -> Self {
        let outcome = outcomes.get(lesson.name).copied().unwrap_or("NO ANSWER").to_owned();
        Self { verdict: lesson.verdict(&outcome), lesson, outcome }
    }

    fn cells(&self, confinement: Confinement) -> Vec<String> {
        let Self { lesson, outcome, verdict } = self;
        let (verdict, why) = match verdict {
            Verdict::Stopped if !lesson.has_wall(confinement) => {
                ("stopped", "this kernel refuses it itself; the container has no protection against it".to_owned())
            }
            Verdict::Stopped => ("stopped", format!("{}; {} would allow it", lesson.wall, lesson.opened_by.join(" "))),
            Verdict::GotThrough => ("GOT THROUGH", format!("nothing stopped it here; usually: {}", lesson.wall)),
            Verdict::NothingThere => ("nothing there", "this kernel does not have the feature".to_owned()),
        };
        vec![lesson.name.to_owned(), verdict.to_owned(), outcome.clone(), format!("{}: {why}", lesson.goal)]
    }
}

fn story(tried: &[Tried], confinement: Confinement) -> String {
    let rows: Vec<Vec<String>> = tried.iter().map(|tried| tried.cells(confinement)).collect();
    let of = |verdict| count(tried, verdict);
    table(&[22, 13, 12], &["Attack", "Verdict", "Answer", "What it wants, and why"], &rows)
        + &format!(
            "{} attacks: {} stopped, {} got through, {} with nothing there\n",
            tried.len(),
            of(Verdict::Stopped),
            of(Verdict::GotThrough),
            of(Verdict::NothingThere)
        )
}

fn count(tried: &[Tried], verdict: Verdict) -> usize {
    tried.iter().filter(|tried| tried.verdict == verdict).count()
}
