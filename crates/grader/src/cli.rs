//! The command line: commands, options, and where the reports go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::arguments::{hexadecimal, positive};
use crate::bless::Bless;
use crate::class::Class;
use crate::coach::watch::Watch;
use crate::coach::{Next, Progress};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::grading::{self, Grade, Request};
use crate::handout::changes::{Changes, Graft};
use crate::handout::starter::Starter;
use crate::judge::Style;
use crate::record::Run;
use crate::report::diff;
use crate::report::{self, Format, NotGraded, write};
use crate::rubric::Rubric;
use crate::self_test::SelfTest;
use crate::submission::kit::Kit;
use crate::task::Task;

/// Grades container labs by what the kernel saw, not by what was printed.
#[derive(Debug, Parser)]
#[command(name = "grade", version, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 all passed, 1 something lost, 2 wrong usage, 3 could not be run here, \
    4 marks not final, 70 fault in the grader, 130 or 143 interrupted.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Grade task 1, namespaces
    Task1(GradeArgs),
    /// Grade task 2, a container from the command line
    Task2(GradeArgs),
    /// Grade task 3, the conductor
    Task3(GradeArgs),
    /// Grade task 4, services in several containers
    Task4(GradeArgs),
    /// Say which lesson is to be written next
    Next(Next),
    /// List all lessons, and whether they are written
    Progress(Progress),
    /// Grade a task again on each save, and show what to do next
    Watch(Watch),
    /// Grade a whole class: every hand-in below a folder or in an export of the course's system
    Class(Class),
    /// Grade one submission of a class as a job of a cluster
    #[command(hide = true)]
    ClassWorker(crate::class::slurm::worker::Worker),
    /// Grade one task of a submission in a throwaway virtual machine
    #[command(hide = true)]
    InMachine(crate::class::machine::InMachine),
    /// List the checks with their marks, lessons and claims
    List {
        /// Only this task: task1, task2, task3, task4
        task: Option<Task>,
    },
    /// Make the workspace for students, with every lesson unwritten
    Starter(Starter),
    /// List the differences between a submission and this workspace, except in the bodies of marked sections
    Changes(Changes),
    /// Make a workspace of this one and the marked sections of a submission
    Graft(Graft),
    /// Record a reference output anew, and show what changed
    Bless(Bless),
    /// Grade programs whose marks are known, and compare
    SelfTest(SelfTest),
}

#[derive(Debug, clap::Args)]
struct GradeArgs {
    /// What was handed in: a folder, a .tar.gz, .tar.xz or .zip, or the program itself [default: the workspace that holds the
    /// current directory]
    #[arg(long, value_name = "PATH")]
    submission: Option<PathBuf>,
    /// Folder of the course's kit, which supplies files that were not handed in [default: the grader's own kit]
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// Report only these checks
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// Seed of everything random in the box, as a report shows it (hexadecimal)
    #[arg(long, value_name = "N", value_parser = hexadecimal)]
    seed: Option<u64>,
    /// How many times it is run, in turn with and without a tracer [default: 2; for tasks 3 and 4 once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// text, json, gradescope, junit, tap or csv, each with =FILE or to stdout; several with commas
    #[arg(long, value_name = "FORMAT[=FILE]", value_delimiter = ',')]
    format: Vec<Destination>,
    /// File for the format that names none
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show the output beside the reference, and no verdicts
    #[arg(long, conflicts_with_all = ["explain", "format", "out"])]
    diff: bool,
    /// How much hints say: 0 nothing, 1 a question, 2 the rule, 3 where to read and what to change
    #[arg(long, value_name = "0..3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    hint: u8,
    /// Show the calls that were seen for this check beside what is wanted
    #[arg(long, value_name = "CHECK", conflicts_with_all = ["format", "out"])]
    explain: Option<String>,
    /// Keep the submission's folder as the run left it, and say where
    #[arg(long)]
    keep: bool,
    /// Factor on all time limits, for slow machines
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    time_scale: f64,
    /// Write what was seen in each run to DIR/run-N.json
    #[arg(long, value_name = "DIR", hide = true)]
    record: Option<PathBuf>,
    /// Judge these recorded runs instead of running anything
    #[arg(long, value_name = "FILE", hide = true, value_delimiter = ',')]
    replay: Vec<PathBuf>,
    /// End when the process that started this one does
    #[arg(long, hide = true)]
    end_with_parent: bool,
    /// The recorded runs are of a C program
    #[arg(long, hide = true, requires = "replay")]
    replay_c: bool,
}

/// One format and where it goes; none is stdout.
#[derive(Debug, Clone)]
struct Destination {
    format: Format,
    file: Option<PathBuf>,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = match text.split_once('=') {
            Some((_, "")) => return Err("no file after =".to_owned()),
            Some((format, file)) => (format, Some(PathBuf::from(file))),
            None => (text, None),
        };
        Ok(Destination { format: format.parse()?, file })
    }
}

impl Cli {
    /// Reads the command line. Help goes to stdout and ends the program, as a person expects.
    ///
    /// # Errors
    /// `Exit::Usage` in one line, with the nearest word where there is one.
    pub fn from_arguments() -> Result<Cli> {
        Cli::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Error::usage(one_line(&error.to_string())),
        })
    }

    /// Does what was asked; gives the exit code.
    ///
    /// # Errors
    /// Whatever kept a verdict from being made, see [`Error`].
    pub fn run(self) -> Result<u8> {
        match self.command {
            Command::Task1(args) => args.run(Task::Task1),
            Command::Task2(args) => args.run(Task::Task2),
            Command::Task3(args) => args.run(Task::Task3),
            Command::Task4(args) => args.run(Task::Task4),
            Command::Next(next) => next.run(),
            Command::Progress(progress) => progress.run(),
            Command::Watch(watch) => watch.run(),
            Command::Class(class) => class.run(),
            Command::ClassWorker(worker) => worker.run(),
            Command::InMachine(machine) => machine.run(),
            Command::List { task } => list(task),
            Command::Starter(starter) => starter.run(),
            Command::Changes(changes) => changes.run(),
            Command::Graft(graft) => graft.run(),
            Command::Bless(bless) => bless.run(),
            Command::SelfTest(self_test) => self_test.run(),
        }
    }
}

impl GradeArgs {
    fn run(self, task: Task) -> Result<u8> {
        if self.end_with_parent {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
                .or_cannot("bind", "its life to its parent's")
                .into_broken()?;
        }
        let destinations = self.destinations()?;
        self.grade(task, &destinations).inspect_err(|error| {
            // A class's table shall have no hole. That a report cannot be written either says nothing more.
            let _ = self.tell_not_graded(task, &destinations, error);
        })
    }

    fn grade(&self, task: Task, destinations: &[Destination]) -> Result<u8> {
        let rubric = Rubric::of(task)?;
        if let Some(id) = &self.explain {
            rubric.find(id)?;
        }
        if self.diff && rubric.reference.text.is_empty() {
            let instead = format!("see `grade {} --explain output`", task.id());
            return Err(Error::usage(format!("the output of {task} has no reference to be put beside; {instead}")));
        }
        let request = Request {
            task,
            submission: self.submission.clone(),
            kit: Kit::open(self.kit.as_deref())?,
            only: self.only.clone(),
            seed: self.seed.unwrap_or_else(grading::random_seed),
            runs: self.runs.unwrap_or(grading::usual_runs(task)),
            keep: self.keep,
            time_scale: self.time_scale,
        };
        let grade = match self.replay.is_empty() {
            true => request.grade()?,
            false => {
                let runs = self.replay.iter().map(|path| recorded(path)).collect::<Result<Vec<Run>>>()?;
                request.judge_again(runs, Style { is_rust: !self.replay_c })?
            }
        };
        if let Some(folder) = &self.record {
            record(&grade, folder)?;
        }
        if self.diff {
            write(None, &diff::against_reference(&grade))?;
            return Ok(grade.exit_code());
        }
        if let Some(id) = &self.explain {
            write(None, &report::explain::explained(&grade, grade.rubric.find(id)?))?;
            return Ok(grade.exit_code());
        }
        for Destination { format, file } in destinations {
            write(file.as_deref(), &format.render(&grade, usize::from(self.hint))?)?;
        }
        Ok(grade.exit_code())
    }

    /// Writes the reports that were asked for on a submission that was not graded. A person reads why on stderr.
    fn tell_not_graded(&self, task: Task, destinations: &[Destination], error: &Error) -> Result<()> {
        if self.diff || self.explain.is_some() {
            return Ok(());
        }
        let what = NotGraded { task, submission: self.submission.as_deref(), error };
        for Destination { format, file } in
            destinations.iter().filter(|it| it.file.is_some() || it.format != Format::Text)
        {
            write(file.as_deref(), &format.render_not_graded(&what)?)?;
        }
        Ok(())
    }

    /// The formats and where each goes; the text to stdout when none is named.
    fn destinations(&self) -> Result<Vec<Destination>> {
        let mut wanted = self.format.clone();
        if wanted.is_empty() {
            wanted.push(Destination { format: Format::Text, file: None });
        }
        let mut to_stdout: Vec<&mut Destination> = wanted.iter_mut().filter(|wanted| wanted.file.is_none()).collect();
        match to_stdout.as_mut_slice() {
            [_, _, ..] => Err(Error::usage("two formats for one place: give all but one a file, as in json=FILE")),
            [] if self.out.is_some() => Err(Error::usage("--out is for a format that names no file; all do")),
            [one] => {
                one.file.clone_from(&self.out);
                Ok(wanted)
            }
            [] => Ok(wanted),
        }
    }
}

/// Writes what was seen, for the judges' own tests and for judging again.
fn record(grade: &Grade, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).or_cannot("write to", folder).into_usage()?;
    for (run, nth) in grade.runs.iter().zip(1..) {
        let json = serde_json::to_string(run).map_err(|e| Error::broken(e.to_string()))?;
        fs::write(folder.join(format!("run-{nth}.json")), json + "\n").or_cannot("write to", folder).into_usage()?;
    }
    Ok(())
}

/// Reads a recorded run.
fn recorded(path: &Path) -> Result<Run> {
    let json = fs::read_to_string(path).or_cannot("read the recorded run", path).into_usage()?;
    serde_json::from_str(&json).or_cannot("read the recorded run", path).into_usage()
}

/// What clap says on several lines, on one: what is wrong, and its tip.
fn one_line(text: &str) -> String {
    let wrong = text.lines().next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':');
    // Arguments that are missing stand on lines of their own, before the usage.
    let missing =
        text.lines().skip(1).map_while(|line| line.strip_prefix("  ")).map(str::trim).filter(|l| !l.is_empty());
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let missing: Vec<&str> = missing.filter(|line| !line.starts_with("tip: ")).collect();
    let mut said = wrong.to_owned();
    if !missing.is_empty() {
        said += &format!(" {}", missing.join(" "));
    }
    said + &tip.map_or("; see grade --help".to_owned(), |tip| format!("; {tip}"))
}

/// `grade list`.
fn list(task: Option<Task>) -> Result<u8> {
    let tasks = match task {
        Some(task) => vec![task],
        // All that have checks.
        None => Task::ALL.into_iter().filter(|task| Rubric::of(*task).is_ok()).collect(),
    };
    let mut text = String::new();
    for task in tasks {
        let rubric = Rubric::of(task)?;
        text += &format!("{task}, {} ({} marks)\n", rubric.title, rubric.max_marks());
        for check in &rubric.checks {
            let lesson = check.lesson.as_ref().map_or(String::new(), |lesson| format!("Lesson {lesson}"));
            let head = format!("  {:>2}  {:<14} {lesson:<11} ", check.marks, check.id);
            let only = if check.edition.is_some() { " (newer edition of the course only)" } else { "" };
            text += &report::text::wrapped(&head, &format!("{}{only}", check.claim));
            if !check.points.is_empty() {
                let parts: BTreeMap<&str, u32> =
                    check.points.iter().map(|(part, marks)| (part.as_str(), *marks)).collect();
                let parts: Vec<String> = parts.iter().map(|(part, marks)| format!("{part} {marks}")).collect();
                text += &format!("{:31}marks by part: {}\n", "", parts.join(", "));
            }
        }
    }
    write(None, &text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn destinations(arguments: &[&str]) -> Result<Vec<Destination>> {
        let all = ["grade", "task1"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Task1(args) => args.destinations(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_command_line_agrees_with_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_format_has_a_place_of_its_own() {
        let both = destinations(&["--format", "json=r.json,junit"]).unwrap();
        assert_eq!(both.iter().map(|d| d.format).collect::<Vec<_>>(), [Format::Json, Format::Junit]);
        assert_eq!(both[0].file.as_deref(), Some(Path::new("r.json")));
        let out = destinations(&["--format", "tap", "--out", "r.tap"]).unwrap();
        assert_eq!(out[0].file.as_deref(), Some(Path::new("r.tap")));
        assert!(destinations(&["--format", "json,tap"]).is_err());
        assert!(destinations(&["--format", "json=a", "--out", "b"]).is_err());
    }

    #[test]
    fn wrong_words_are_refused_with_a_reason() {
        let refused =
            |arguments: &[&str]| Cli::try_parse_from(["grade"].iter().chain(arguments)).unwrap_err().to_string();
        assert!(refused(&["tsak1"]).contains("'task1'"));
        assert!(refused(&["task1", "--format", "xml"]).contains("text, json, gradescope, junit, tap or csv"));
        assert!(refused(&["task1", "--seed", "no"]).contains("hexadecimal"));
        assert!(refused(&["task1", "--hint", "4"]).contains("4 is not in 0..=3"));
        assert!(refused(&["task1", "--time-scale", "0"]).contains("above 0"));
        assert_eq!(
            one_line(&refused(&["bless"])),
            "the following required arguments were not provided <TASK>; see grade --help"
        );
        assert!(one_line(&refused(&["task1", "--hnt", "1"])).ends_with("a similar argument exists: '--hint'"));
    }
}
