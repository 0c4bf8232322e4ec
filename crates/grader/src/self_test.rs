//! `grade self-test`: the grader graded.
//!
//! A grader is wrong in two ways: it gives marks for what was not done, or takes marks for what was. Neither shows
//! while it grades, so it is tried on a zoo of small programs whose marks are known: right ones of many styles, and
//! wrong ones with a single mistake each. Every program goes through the same box, observers and judge as a student's.
//! Then the grader is weakened, one check at a time, and at least one program of the zoo must get other marks.
//!
//! Look: `grade self-test --only no-uts-flag,c-clone3`.

pub mod attack;
mod matrix;
mod mutant;
mod outcome;
mod zoo;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::error::{Error, Exit, IntoExit, OrCannot, Result};
use crate::grading::{self, Grade, Request};
use crate::report::write;
use crate::rubric::Rubric;
use crate::submission::kit::Kit;
use crate::task::Task;

use outcome::{MatrixCell, ProgramOutcome};
use zoo::ZooEntry;

/// Grade programs whose marks are known, and compare
#[derive(Debug, Clone, clap::Args)]
pub struct SelfTest {
    /// Only these programs, by the name of their folder
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only programs for this task
    #[arg(long)]
    task: Option<Task>,
    /// How many programs are graded at the same time
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Factor on all time limits, for slow machines
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = crate::arguments::positive)]
    time_scale: f64,
    /// Name the programs and what they are, and run nothing
    #[arg(long)]
    list: bool,
    /// Also show which program notices when a check is taken away
    #[arg(long)]
    mutants: bool,
    /// Write the programs there as they would be handed in, and run nothing
    #[arg(long, value_name = "DIR", conflicts_with = "list")]
    unpack: Option<PathBuf>,
    /// Where the zoo lies
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo"))]
    zoo: PathBuf,
    /// Print the outcomes for another `grade self-test` to read
    #[arg(long, hide = true)]
    raw: bool,
}

impl SelfTest {
    /// Runs the zoo and prints the matrix; the exit code is 0 when every program got what it should.
    ///
    /// # Errors
    /// `Exit::Usage` for a name that no program has, `Exit::CannotRun` when this machine cannot grade.
    pub fn run(&self) -> Result<u8> {
        let entries = self.chosen(zoo::read(&self.zoo)?)?;
        if self.list {
            for entry in &entries {
                write(None, &format!("{:<34} {}  {}\n", entry.name, entry.expect.task.id(), entry.expect.story))?;
            }
            return Ok(0);
        }
        if let Some(folder) = &self.unpack {
            for entry in &entries {
                let submission = entry.unpack(&folder.join(&entry.name))?;
                write(None, &format!("{}\n", submission.display()))?;
            }
            return Ok(0);
        }
        let started = Instant::now();
        let outcomes = if self.jobs > 1 { self.in_parallel(&entries)? } else { self.one_by_one(&entries)? };
        if self.raw {
            let json = serde_json::to_string(&outcomes).map_err(|e| Error::broken(e.to_string()))?;
            write(None, &json)?;
            return Ok(0);
        }
        let report = self.report(&entries, &outcomes)?;
        write(None, &report.text)?;
        write(None, &format!("{:.0} s\n", started.elapsed().as_secs_f64()))?;
        Ok(u8::from(!report.all_fine))
    }

    /// The entries that the command line asks for.
    fn chosen(&self, entries: Vec<ZooEntry>) -> Result<Vec<ZooEntry>> {
        let matches = |entry: &ZooEntry, name: &str| entry.name == name || entry.name.ends_with(&format!("/{name}"));
        if let Some(unknown) = self.only.iter().find(|name| !entries.iter().any(|entry| matches(entry, name))) {
            return Err(Error::usage(format!("the zoo has no {unknown:?}; see grade self-test --list")));
        }
        Ok(entries
            .into_iter()
            .filter(|entry| self.only.is_empty() || self.only.iter().any(|name| matches(entry, name)))
            .filter(|entry| self.task.is_none_or(|task| entry.expect.task == task))
            .collect())
    }

    fn one_by_one(&self, entries: &[ZooEntry]) -> Result<Vec<ProgramOutcome>> {
        let mut outcomes = Vec::new();
        for entry in entries {
            let outcome = grade(entry, self.time_scale)?;
            if !self.raw {
                progress(outcomes.len() + 1, entries.len(), &outcome);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// A tracer must be the thread that waits, and it waits for whatever child it has: so each job is a process.
    fn in_parallel(&self, entries: &[ZooEntry]) -> Result<Vec<ProgramOutcome>> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Result<ProgramOutcome>)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.min(entries.len()) {
                scope.spawn(|| {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        let Some(entry) = entries.get(nth) else { break };
                        let outcome = self.in_a_process(entry);
                        let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        if let Ok(outcome) = &outcome {
                            progress(done.len() + 1, entries.len(), outcome);
                        }
                        done.push((nth, outcome));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        done.sort_by_key(|(nth, _)| *nth);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Grades one program in a copy of this process.
    fn in_a_process(&self, entry: &ZooEntry) -> Result<ProgramOutcome> {
        let broken = |why: String| Error::broken(format!("{}: {why}", entry.name));
        let grade = std::env::current_exe().map_err(|e| broken(e.to_string()))?;
        let output = Command::new(grade)
            .args(["self-test", "--raw", "--only", &entry.name, "--time-scale", &self.time_scale.to_string(), "--zoo"])
            .arg(&self.zoo)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| broken(e.to_string()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => {}
            Some(3) => return Err(Error::cannot_run(said)),
            _ => return Err(broken(format!("{}: {said}", output.status))),
        }
        let outcomes: Vec<ProgramOutcome> =
            serde_json::from_slice(&output.stdout).map_err(|e| broken(format!("{e}: {said}")))?;
        outcomes.into_iter().next().ok_or_else(|| broken("no outcome".to_owned()))
    }

    /// Everything that is known when all have run.
    fn report(&self, entries: &[ZooEntry], outcomes: &[ProgramOutcome]) -> Result<Summary> {
        let mut text = String::new();
        let mut unnoticed = 0;
        for task in Task::ALL {
            let of_task: Vec<&ProgramOutcome> = entries
                .iter()
                .zip(outcomes)
                .filter(|(e, _)| e.expect.task == task && !e.is_attack())
                .map(|(_, o)| o)
                .collect();
            if of_task.is_empty() {
                continue;
            }
            let rubric = Rubric::in_edition(task, false)?;
            text += &matrix::matrix(&rubric, &of_task);
            let mutants = mutant::mutants(&rubric);
            if self.mutants {
                text += &format!("\n{task}, what is noticed when the grader is weaker\n");
                text += &matrix::noticed(&mutants, &of_task);
            }
            if self.only.is_empty() {
                let nobody = |m: &&mutant::Mutant| !of_task.iter().any(|o| o.noticed.contains(&m.to_string()));
                for mutant in mutants.iter().filter(nobody) {
                    unnoticed += 1;
                    text += &format!("  nobody in the zoo notices a grader {mutant}\n");
                }
            }
            text.push('\n');
        }
        for (entry, outcome) in entries.iter().zip(outcomes).filter(|(_, outcome)| !outcome.surprises.is_empty()) {
            text += &format!("{}: {}\n", entry.name, entry.expect.story);
            for surprise in &outcome.surprises {
                text += &format!("    {surprise}\n");
            }
        }
        for (entry, outcome) in entries.iter().zip(outcomes).filter(|(entry, _)| entry.is_attack()) {
            text +=
                &outcome.skipped.as_ref().map_or(String::new(), |why| format!("{}: not tried, {why}\n", entry.name));
        }
        let count =
            |what: fn(&MatrixCell) -> bool| outcomes.iter().flat_map(|o| &o.cells).filter(|cell| what(cell)).count();
        let false_passes = count(|cell| matches!(cell, MatrixCell::FalsePass(_)));
        let false_losses = count(|cell| matches!(cell, MatrixCell::FalseLoss(_)));
        let undecided = count(|cell| matches!(cell, MatrixCell::Undecided));
        let skipped = outcomes.iter().filter(|outcome| outcome.skipped.is_some()).count();
        let surprised = outcomes.iter().filter(|outcome| !outcome.surprises.is_empty()).count();
        text += &format!(
            "{} programs ({skipped} not tried here), {} verdicts: {false_passes} false passes, {false_losses} false \
             losses, {undecided} undecided; {surprised} programs not as expected, {unnoticed} weaknesses unnoticed, ",
            outcomes.len(),
            count(|_| true),
        );
        Ok(Summary { text, all_fine: surprised == 0 && unnoticed == 0 })
    }
}

/// The printed result.
struct Summary {
    text: String,
    all_fine: bool,
}

/// Grades one program of the zoo, the way `grade TASK` grades a submission.
///
/// # Errors
/// `Exit::CannotRun` and `Exit::Interrupted`; any other error is a surprise about this program.
fn grade(entry: &ZooEntry, time_scale: f64) -> Result<ProgramOutcome> {
    let started = Instant::now();
    let mut outcome = ProgramOutcome {
        name: entry.name.clone(),
        cells: Vec::new(),
        surprises: Vec::new(),
        skipped: entry.missing().map(|program| format!("{program} is not installed")),
        noticed: Vec::new(),
        seconds: 0.0,
    };
    if outcome.skipped.is_none() {
        match try_out(entry, time_scale, &mut outcome) {
            Ok(()) => {}
            Err(error) if matches!(error.exit, Exit::CannotRun | Exit::Interrupted(_)) => return Err(error),
            Err(error) => outcome.surprises.push(error.line()),
        }
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Unpacks, grades as `grade TASK` does, compares.
fn try_out(entry: &ZooEntry, time_scale: f64, outcome: &mut ProgramOutcome) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("grade-zoo-")
        .tempdir()
        .or_cannot("make", "a temporary folder")
        .into_broken()?;
    let request = Request {
        task: entry.expect.task,
        kit: Kit::Own,
        submission: Some(entry.unpack(folder.path())?),
        only: Vec::new(),
        seed: grading::random_seed(),
        runs: grading::usual_runs(entry.expect.task),
        keep: false,
        time_scale,
    };
    let _bait = attack::Bait::lay(&entry.expect.plants).or_cannot("make", "an attack's files").into_broken()?;
    let before = entry.is_attack().then(attack::Machine::now);
    let Grade { rubric, style, runs, verdicts, build_error, .. } = request.grade()?;
    if let Some(error) = build_error {
        return Err(Error::does_not_build(error));
    }
    if let Some(before) = before {
        outcome.surprises = attack::judge(&entry.expect, &runs);
        outcome.surprises.extend(before.changes(&attack::Machine::now()));
        outcome.surprises.extend(runs.iter().flat_map(|run| &run.not_clean).map(|left| format!("left behind: {left}")));
        if outcome.surprises.is_empty() {
            outcome.skipped = attack::not_tried(&runs);
        }
        return Ok(());
    }
    if let Some(wanted) = &entry.expect.cpu {
        let here = runs.iter().find_map(|run| run.host.cpu_controller.as_ref());
        if here != Some(wanted) {
            outcome.skipped = Some(format!("the cpu controller is not in cgroup {wanted}"));
            return Ok(());
        }
    }
    (outcome.cells, outcome.surprises) = outcome::compare(&verdicts, &entry.expect);
    outcome.surprises.extend(runs.iter().flat_map(|run| &run.not_clean).map(|left| format!("left behind: {left}")));
    if !entry.is_wrong() {
        // Told as an attempt to leave the box, a right program's doing would put its student under suspicion.
        let known = |what: &&String| !entry.expect.refused.iter().any(|word| what.contains(word.as_str()));
        let refused = runs.iter().flat_map(|run| &run.refused).filter(known);
        outcome.surprises.extend(refused.map(|what| format!("refused: {what}")));
    }
    if !outcome.surprises.is_empty() {
        return Ok(()); // who is surprised already cannot notice more
    }
    for mutant in mutant::mutants(&rubric) {
        if mutant.is_noticed(&rubric, &runs, style, &verdicts, &entry.expect)? {
            outcome.noticed.push(mutant.to_string());
        }
    }
    Ok(())
}

/// One line on stderr for one finished program.
fn progress(done: usize, all: usize, outcome: &ProgramOutcome) {
    let verdict = match (&outcome.skipped, outcome.surprises.is_empty()) {
        (Some(_), _) => "skip",
        (None, true) => "ok",
        (None, false) => "BAD",
    };
    anstream::eprintln!("{done:>3}/{all}  {verdict:<4} {:>5.1} s  {}", outcome.seconds, outcome.name);
}
