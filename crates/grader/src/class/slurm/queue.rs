//! Slurm's commands: submit an array, ask how it stands, end it.
//!
//! squeue(1) knows every job that has not ended, and those that ended a while ago; sacct(1) remembers all, where a database
//! keeps the accounts. A controller that does not answer says nothing about its jobs: they go on without it.
//!
//! Look: `squeue -t all -r -j ID`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// Slurm's own default of `MaxArraySize`: the largest index is one less.
const USUAL_ARRAY: u32 = 1001;

/// How one index of an array stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits or runs; Slurm's words for that, such as `PENDING (Resources)`.
    Active(String),
    /// It has ended so: `COMPLETED`, `NODE_FAIL`, …
    Ended(String),
}

/// What an array is submitted with.
#[derive(Debug)]
pub struct Array<'a> {
    /// By which it is found again when its number was not written down.
    pub name: &'a str,
    /// The folder that it works in.
    pub folder: &'a Path,
    /// Its script.
    pub script: &'a Path,
    /// `1-40`.
    pub indexes: String,
    /// Most that run at the same time.
    pub at_once: Option<u32>,
    /// Time limit of each.
    pub minutes: u64,
    /// Processors of each.
    pub cpus: u32,
    /// Memory of each; none is the partition's default.
    pub megabytes: Option<u32>,
    /// Slurm's partition; none is its default.
    pub partition: Option<&'a str>,
}

impl Array<'_> {
    /// Submits it; gives Slurm's number of it.
    ///
    /// # Errors
    /// `Exit::CannotRun` with sbatch's reason.
    pub fn submit(&self) -> Result<String> {
        let mut sbatch = Command::new("sbatch");
        // Ctrl-C on the terminal shall not end it after Slurm took the job and before its number is known.
        sbatch.process_group(0).args(["--parsable", "--requeue", "--open-mode=append", "--output=log/%a"]);
        sbatch.arg(format!("--job-name={}", self.name)).arg("--chdir").arg(self.folder);
        let at_once = self.at_once.map_or_else(String::new, |most| format!("%{most}"));
        sbatch.arg(format!("--array={}{at_once}", self.indexes));
        sbatch.arg(format!("--time={}", self.minutes)).arg(format!("--cpus-per-task={}", self.cpus));
        if let Some(megabytes) = self.megabytes {
            sbatch.arg(format!("--mem={megabytes}M"));
        }
        if let Some(partition) = self.partition {
            sbatch.arg(format!("--partition={partition}"));
        }
        let cannot = |why: &str| {
            Error::cannot_run(format!("cannot submit a job to Slurm: {why}; type this where sbatch(1) works"))
        };
        let output = run(sbatch.arg(self.script)).map_err(|why| cannot(&format!("sbatch: {why}")))?;
        if !output.status.success() {
            return Err(cannot(&reason(&output)));
        }
        // ID, or ID;CLUSTER.
        let said = String::from_utf8_lossy(&output.stdout);
        let id: String = said.trim().chars().take_while(char::is_ascii_digit).collect();
        if id.is_empty() { Err(cannot(&format!("sbatch said {:?}", said.trim()))) } else { Ok(id) }
    }
}

/// How each index of an array stands. One that is not in the answer is not known to Slurm any more.
///
/// # Errors
/// In words, when the controller does not answer: then nothing is known.
pub fn states(job: &str) -> Result<BTreeMap<u32, State>, String> {
    let mut squeue = Command::new("squeue");
    squeue.args(["-h", "-t", "all", "-r", "-j", job, "-o", "%i|%T|%r"]);
    let output = run(&mut squeue).map_err(|why| format!("squeue: {why}"))?;
    let mut states = match output.status.success() {
        true => parsed(&String::from_utf8_lossy(&output.stdout)),
        // All of it ended so long ago that the controller has forgotten it.
        false if reason(&output).contains("Invalid job id") => BTreeMap::new(),
        false => return Err(reason(&output)),
    };
    let mut sacct = Command::new("sacct");
    sacct.args(["-n", "-X", "-P", "-j", job, "-o", "JobID,State"]);
    if let Ok(output) = run(&mut sacct) {
        if output.status.success() {
            for (index, state) in parsed(&String::from_utf8_lossy(&output.stdout)) {
                states.entry(index).or_insert(state);
            }
        }
    }
    Ok(states)
}

/// The number of a job of that name which has not ended, as far as there is one.
///
/// # Errors
/// In words, when the controller does not answer.
pub fn named(name: &str) -> Result<Option<String>, String> {
    let output = run(Command::new("squeue").args(["-h", "--name", name, "-o", "%F"]));
    let output = output.map_err(|why| format!("squeue: {why}"))?;
    if !output.status.success() {
        return Err(reason(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().map(|id| id.trim().to_owned()))
}

/// Ends what of a job has not ended.
pub fn cancel(job: &str) {
    // One that has ended is no error, and there is nothing else to do about one.
    let _ = run(Command::new("scancel").args(["--quiet", job]));
}

/// The most indexes that an array may have here.
pub fn largest_array() -> u32 {
    let said = run(Command::new("scontrol").args(["show", "config"])).map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find_map(|line| line.strip_prefix("MaxArraySize"));
    let size = line.and_then(|rest| rest.trim_start_matches([' ', '=']).trim().parse().ok()).unwrap_or(USUAL_ARRAY);
    size.saturating_sub(1).max(1)
}

/// Lines `ID_INDEX|STATE` or `ID_INDEX|STATE|REASON`.
fn parsed(lines: &str) -> BTreeMap<u32, State> {
    const ACTIVE: [&str; 12] = [
        "PENDING",
        "RUNNING",
        "CONFIGURING",
        "COMPLETING",
        "SUSPENDED",
        "STOPPED",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
    ];
    let one = |line: &str| {
        let mut cells = line.split('|');
        let index = cells.next()?.split_once('_')?.1.parse().ok()?;
        let state = cells.next()?;
        let reason = cells.next().filter(|reason| !["", "None"].contains(reason));
        let state = match ACTIVE.contains(&state) {
            true => State::Active(reason.map_or(state.to_owned(), |reason| format!("{state} ({reason})"))),
            false => State::Ended(state.to_owned()),
        };
        Some((index, state))
    };
    lines.lines().filter_map(one).collect()
}

fn run(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).output()
}

/// The first line that a command said on stderr, else how it ended.
fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .find(|line| !line.trim().is_empty())
        .map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeue_and_sacct_are_understood_and_what_is_neither_waiting_nor_running_has_ended() {
        let said = "7_1|COMPLETED|None\n7_2|PENDING|Resources\n7_3|RUNNING|None\n7_4|NODE_FAIL|NodeDown\n\
            7_[5-9]|PENDING|\n7_10|CANCELLED by 0\n7|FAILED\n";
        let states = parsed(said);
        let ended = |state: &str| State::Ended(state.to_owned());
        assert_eq!(states[&1], ended("COMPLETED"));
        assert_eq!(states[&2], State::Active("PENDING (Resources)".to_owned()));
        assert_eq!(states[&3], State::Active("RUNNING".to_owned()));
        assert_eq!((&states[&4], &states[&10]), (&ended("NODE_FAIL"), &ended("CANCELLED by 0")));
        assert_eq!(states.len(), 5);
    }
}
