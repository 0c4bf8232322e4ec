//! `grade bless TASK`: record a reference output anew.
//!
//! The workspace's own program is run three times, each time with other process ids and another host name. Whatever
//! differs between the runs must have a named blank already: a name is given by a person, who knows what the thing is,
//! and never by a rule like "all digits". The result is written beside the reference and shown as a diff; only
//! `--accept` puts it in the reference's place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::escape::drawn;
use crate::grading::random_seed;
use crate::judge::Status;
use crate::judge::history::History;
use crate::observe::plan::RunPlan;
use crate::observe::run;
use crate::record::{Observer, Run, StdoutKind};
use crate::report::diff;
use crate::report::write;
use crate::rubric::Rubric;
use crate::rubric::align::{Item, Row};
use crate::submission::{Submission, kit::Kit};
use crate::task::Task;

/// How many runs show what varies.
const RUNS: u64 = 3;

/// Record a reference output anew, and show what changed
#[derive(Debug, Clone, clap::Args)]
pub struct Bless {
    /// The task: task1, task2
    task: Task,
    /// Replace the reference with the last recording
    #[arg(long)]
    accept: bool,
}

impl Bless {
    /// Runs the reference, or accepts what it gave; the exit code is 0 when the reference is as it should be, 1 when
    /// a new one waits to be accepted.
    ///
    /// # Errors
    /// `Exit::Usage` outside the workspace, or when there is nothing to accept; `Exit::Broken` when the
    /// workspace's own program is not right, or something varies that has no name.
    pub fn run(&self) -> Result<u8> {
        if self.task.is_tool() {
            return Err(Error::usage(format!("the output of {} has no reference that could be recorded", self.task)));
        }
        let reference = expected_folder(self.task)?.join("output.txt");
        let waiting = reference.with_extension("txt.new");
        if self.accept {
            fs::rename(&waiting, &reference).or_cannot("accept", &waiting).into_usage()?;
            write(None, &format!("{} is now what was recorded\n", reference.display()))?;
            return Ok(0);
        }
        let rubric = Rubric::of(self.task)?;
        let runs = self.observe()?;
        let right = crate::judge::judge(self.task, &rubric, &runs, crate::judge::Style { is_rust: true });
        if let Some(verdict) = right.iter().find(|v| {
            v.check.kind == crate::rubric::CheckKind::Outcome && v.check.id != "output" && v.status == Status::Failed
        }) {
            return Err(Error::broken(format!(
                "the workspace's own program loses {}: nothing to learn from it",
                verdict.check.id
            )));
        }
        let blessed = generalised(&rubric, &runs).map_err(Error::broken)?;
        for label in &blessed.constant {
            anstream::eprintln!("grade: <{label}> was the same in all {RUNS} runs");
        }
        let old = fs::read_to_string(&reference).or_cannot("read", &reference).into_usage()?;
        match diff::unified(&old, &blessed.text) {
            None => {
                write(None, &format!("{}: no difference in {RUNS} runs\n", reference.display()))?;
                Ok(0)
            }
            Some(text) => {
                fs::write(&waiting, &blessed.text).or_cannot("write", &waiting).into_usage()?;
                let then = format!("grade bless {} --accept takes it", self.task.id());
                write(None, &format!("{text}written to {}; {then}\n", waiting.display()))?;
                Ok(1)
            }
        }
    }

    fn observe(&self) -> Result<Vec<Run>> {
        let submission = Submission::find(None, self.task, Kit::Own)?;
        let seed = random_seed();
        let plan = |nth: u64| RunPlan {
            task: self.task,
            submission: &submission,
            observer: Observer::Traced,
            stdout: StdoutKind::Pty,
            seed: seed.wrapping_add(nth),
            time_scale: 1.0,
            keep: false,
            cpu_enabled: true,
        };
        (0..RUNS).map(|nth| run::observe(&plan(nth))).collect()
    }
}

/// A reference made from several runs.
#[derive(Debug, PartialEq, Eq)]
struct Blessed {
    text: String,
    /// Blanks that held the same in every run.
    constant: Vec<String>,
}

/// What all runs have in common, with a named blank wherever they differ.
fn generalised(rubric: &Rubric, runs: &[Run]) -> Result<Blessed, String> {
    let mut texts: Vec<Vec<String>> = Vec::new();
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (run, nth) in runs.iter().zip(1..) {
        let history = History::new(run, nth, rubric);
        let mut text: Vec<String> = Vec::new();
        for row in &history.rows {
            match row {
                Row::Match { item, line, blanks } => {
                    for (label, value) in blanks {
                        values.entry(label.clone()).or_default().insert(value.clone());
                    }
                    let (Some(item), Some(line)) = (history.items.get(*item), history.lines.get(*line)) else {
                        continue;
                    };
                    let said = match item {
                        Item::Separator(_) => line.text.clone(),
                        Item::Text(_) | Item::Entries(_) => item.to_string(),
                    };
                    let again = matches!(item, Item::Entries(_)) && text.last() == Some(&said);
                    if !again {
                        text.push(said);
                    }
                }
                Row::Malformed { line, .. } | Row::Extra { line } => {
                    text.extend(history.lines.get(*line).map(|line| line.text.clone()));
                }
                Row::Missing { .. } => {}
            }
        }
        texts.push(text);
    }
    let Some((first, others)) = texts.split_first() else { return Err("there was no run".to_owned()) };
    for (other, nth) in others.iter().zip(2..) {
        if other.len() != first.len() {
            return Err(format!("run 1 has {} lines and run {nth} has {}", first.len(), other.len()));
        }
        for ((line, own), theirs) in (1..).zip(first).zip(other) {
            let differ = own.split_whitespace().zip(theirs.split_whitespace()).find(|(a, b)| a != b);
            if let Some((a, b)) = differ {
                return Err(format!(
                    "line {line}: {:?} in run 1 is {:?} in run {nth}, and has no named blank",
                    drawn(a),
                    drawn(b)
                ));
            }
            if own != theirs {
                return Err(format!("line {line} differs between run 1 and run {nth}, and has no named blank"));
            }
        }
    }
    let constant = values.into_iter().filter(|(_, seen)| seen.len() == 1).map(|(label, _)| label).collect();
    Ok(Blessed { text: first.iter().map(|line| format!("{line}\n")).collect(), constant })
}

/// The `expected` folder of `task` in the workspace that holds the current directory.
fn expected_folder(task: Task) -> Result<PathBuf> {
    let here = std::env::current_dir().map_err(|e| Error::usage(format!("the current directory: {e}")))?;
    let within = |folder: &Path| folder.join(task.folder()).join("expected");
    here.ancestors().map(within).find(|folder| folder.join("output.txt").is_file()).ok_or_else(|| {
        Error::usage(format!("no {}/expected/output.txt here or above: bless works in the workspace", task.folder()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(text: &str) -> Run {
        let mut run = Run::default();
        run.output.stdout = text.to_owned();
        run
    }

    fn transcript(parent: &str, host: &str, extra: &str) -> Run {
        let line = "-".repeat(40);
        let block =
            |who: &str, pid: &str, host: &str| format!("{who} Process PID: {pid}\n{who} Hostname: {host}\n{line}\n");
        let parent = block("Parent", parent, host);
        let (one, two) = (block("Child1", "1", "Child1Hostname"), block("Child2", "2", "Child1Hostname"));
        run_of(&format!("{line}\n{parent}{one}{parent}{two}{parent}{extra}"))
    }

    #[test]
    fn runs_that_differ_in_named_blanks_only_give_the_reference_again() {
        let rubric = Rubric::of(Task::Task1).unwrap();
        let blessed = generalised(&rubric, &[transcript("7", "a", ""), transcript("8", "b", "")]).unwrap();
        assert_eq!(blessed.text, rubric.reference.text);
        assert_eq!(blessed.constant, ["child1-host", "child1-pid", "child2-pid"]);
    }

    #[test]
    fn a_new_line_is_taken_as_it_is_when_it_never_varies_and_refused_when_it_does() {
        let rubric = Rubric::of(Task::Task1).unwrap();
        let with = |a: &str, b: &str| generalised(&rubric, &[transcript("7", "a", a), transcript("8", "b", b)]);
        assert!(with("Done.\n", "Done.\n").unwrap().text.ends_with("---\nDone.\n"));
        let refused = with("Took 3 ms\n", "Took 4 ms\n").unwrap_err();
        assert_eq!(refused, "line 17: \"3\" in run 1 is \"4\" in run 2, and has no named blank");
        assert!(with("", "Done.\n").unwrap_err().contains("run 2 has 17"));
    }
}
