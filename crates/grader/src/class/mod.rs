//! `grade class`: from a folder of hand-ins to a table of marks, a page to look at and feedback for each student.
//!
//! ```text
//! HANDINS --handin--> one entry each --roster--> one student each --work--> DIR/kept/ROLL/taskN --marks--> the tables
//! ```
//!
//! Each task of each student is graded by a process of its own, `grade taskN`, in a box of its own: [`work`] starts as many
//! at once as are asked for. Its reports and the record of its runs stay in `DIR/kept` under a hash of all that decides
//! them, so the same command continues after an interruption and grades only what is new. Everything else in DIR is made anew
//! from `DIR/kept` each time.
//!
//! Look: `grade class hand-ins --out marks --jobs 2`, then `marks/class.html`.

mod copy;
mod feedback;
mod folder;
mod gradescope;
mod handin;
mod integrity;
mod junit;
pub mod machine;
mod marks;
mod page;
mod roster;
mod sheets;
pub mod slurm;
mod stamp;
pub mod stored;
mod work;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::report::write;
use crate::task::Task;

use folder::Folder;
use roster::Roster;

/// Grade a whole class: every hand-in below a folder or in an export of the course's system
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Exit status: 0 all reports are final, 4 some are not, 2 wrong usage, 3 could not be run here, \
    130 or 143 interrupted (the same command continues)."
)]
pub struct Class {
    /// What was handed in: a folder with a folder or archive a student, or Moodle's export as one .zip
    #[arg(value_name = "HANDINS")]
    handins: PathBuf,
    /// Where the results go: marks.csv, class.html, students/ROLL/…
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The students of the class: a .csv whose first line names its columns, one of them `roll` (or `id number`, `sid`), and `name`
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// Only these tasks
    #[arg(long = "task", value_name = "TASK", value_delimiter = ',')]
    tasks: Vec<Task>,
    /// How many are graded at the same time; task 2 measures CPU time and never runs beside another task 2
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Folder of the course's kit, which supplies files that were not handed in [default: the grader's own kit]
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// How much hints say: 0 nothing, 1 a question, 2 the rule, 3 where to read and what to change
    #[arg(long, value_name = "0..3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    hint: u8,
    /// Factor on all time limits, for slow machines
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = crate::arguments::positive)]
    time_scale: f64,
    /// Judge the recorded runs again, after a change of the rubric, and run nothing
    #[arg(long, conflicts_with = "slurm")]
    rejudge: bool,
    /// Where each submission runs: in a box on this kernel (root), or each task in a throwaway virtual machine (any user)
    /// [default: box; in a Slurm job of an ordinary user: vm]
    #[arg(long = "where", value_name = "WHERE", value_enum)]
    place: Option<Where>,
    /// Folder of the machine's image, as `vm/build base` leaves it
    #[arg(long, value_name = "DIR", env = "VM_OUT", default_value = "vm/out")]
    image: PathBuf,
    /// Grade on a cluster: one array job, an index a submission. The same command gathers and goes on after an interruption
    #[arg(long)]
    slurm: bool,
    /// Slurm's partition
    #[arg(long, value_name = "P", requires = "slurm")]
    partition: Option<String>,
    /// How many of the array's jobs may run at the same time
    #[arg(long, value_name = "N", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    max_jobs: Option<u32>,
}

/// Where a submission runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// A box of namespaces on this kernel.
    Box,
    /// A virtual machine that is thrown away.
    Vm,
}

/// What is the same for all tasks of all students.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder of the course's kit.
    pub kit: Option<PathBuf>,
    /// Degrees of hints.
    pub hint: u8,
    /// Factor on all time limits.
    pub time_scale: f64,
    /// Judge what was recorded.
    pub rejudge: bool,
    /// Where submissions run.
    pub place: Where,
    /// Folder of the machine's image.
    pub image: PathBuf,
}

impl Class {
    /// Grades the class; the exit code is 0 when every student has a final report, else 4.
    ///
    /// # Errors
    /// `Exit::Usage` for a folder, roster or DIR that cannot be used, `Exit::CannotRun` when this machine cannot grade,
    /// `Exit::Interrupted` after a signal; what was graded until then is kept.
    pub fn run(&self) -> Result<u8> {
        handin::keep_apart(&self.handins, &self.out)?;
        let roster = self.roster.as_deref().map(Roster::read).transpose()?;
        let folder = Folder::open(&self.out)?;
        let handins = handin::all(&self.handins, &folder)?;
        let students = roster::students(handins, roster.as_ref());
        if students.is_empty() {
            return Err(Error::usage(format!("{}: there is no hand-in in it", self.handins.display())));
        }
        if self.slurm {
            slurm::all(self, &folder, &students)?;
        } else {
            work::all(self, &folder, &students)?;
        }
        let mut class = marks::gather(&folder, &students, &self.tasks())?;
        let mut told = integrity::remarks(&students, self.jobs);
        for row in &mut class.rows {
            row.changes = told.remove(&row.id).unwrap_or_default();
        }
        sheets::write(&folder, &class)?;
        for row in &class.rows {
            feedback::write(&folder, row)?;
        }
        folder.write(Path::new("junit.xml"), &junit::junit(&class)?)?;
        folder.write(Path::new("class.html"), &page::page(&class))?;
        write(None, &format!("{}{}\n", class.summary(), folder.path.join("class.html").display()))?;
        Ok(if class.is_final() { 0 } else { 4 })
    }

    /// What the processes that grade are told.
    fn options(&self) -> Result<Options> {
        let place = self.place.unwrap_or(Where::Box);
        if place == Where::Vm && !self.rejudge {
            machine::Image::open(&self.image)?;
        }
        Ok(Options {
            kit: self.kit.clone(),
            hint: self.hint,
            time_scale: self.time_scale,
            rejudge: self.rejudge,
            place,
            image: self.image.clone(),
        })
    }

    /// The tasks that are graded, each once.
    fn tasks(&self) -> Vec<Task> {
        Task::ALL.into_iter().filter(|task| self.tasks.is_empty() || self.tasks.contains(task)).collect()
    }
}

/// Where the reports on one task of a student are kept, below the folder of results.
fn kept(student: &str, task: Task) -> PathBuf {
    Path::new("kept").join(student).join(task.id())
}
