//! `conductor attack NAME`: attack the host from inside a container, as a lesson.
//!
//! The attempts are made by a child that goes the same way in as `exec` does and gives up the same things; it becomes no
//! other program, so nothing has to be there in the image. See [`crate::attacks`].

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

/// Attack the host from inside a container: each attempt, what stopped it, and the flag of `run` that would let it through
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor attack web
  conductor run -d --weak chroot small weak -- sleep infinity && conductor attack weak
No attempt does harm where it succeeds: nothing is written, and what was made is removed again.
It ends with 1 when something got through.")]
pub struct Attack {
    /// Container to attack from
    name: ContainerName,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// What came of an attack.
#[derive(Debug, Serialize)]
struct Tried {
    #[serde(flatten)]
    lesson: Lesson,
    /// The kernel's answer.
    outcome: String,
    verdict: Verdict,
}

/// The exit code when something got through.
const SOMETHING_SUCCEEDED: u8 = 1;

impl Attack {
    /// Makes all attempts and tells what came of them.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let (record, init) = store.running_container(&self.name, "attack from")?;
        let process = Process::joining(&record, ProcessOptions::default());
        // Nothing in the container is called so.
        let _ = MARK.set(store.container_dir(&self.name));
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_cannot("make", "a pipe")?;
        let cgroup = cgroup::of(&store.tag(&self.name))?;
        cgroup::refuse_frozen(&cgroup, &self.name)?;
        let attacker = join::visit(&init, &cgroup, &process, move || attempt_all(File::from(write)))?;
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).or_cannot("read", "what came of the attacks")?;
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
        // Whoever reads has gone.
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
                ("stopped", "the kernel itself refuses it here; the container has no wall against it".to_owned())
            }
            Verdict::Stopped => {
                ("stopped", format!("{}; with {} it gets through", lesson.wall, lesson.opened_by.join(" ")))
            }
            Verdict::GotThrough => ("GOT THROUGH", format!("nothing stopped it here; else: {}", lesson.wall)),
            Verdict::NothingThere => ("nothing there", "this kernel has no such thing".to_owned()),
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
