//! One task of one submission in a virtual machine of its own, which is thrown away.
//!
//! A box of namespaces keeps accidents in, not intent: root in it can attack the kernel that all share. Here that kernel is
//! the machine's. It has no network and no shared folder, its disk is a throwaway copy, and one disk of a fixed size is
//! the only way out of it. qemu needs no root: an ordinary user of a cluster can do this.
//!
//! ```text
//! /dev/vda  the image, changes go to a file without a name    /dev/vdc  the result, a tar; read as hostile
//! /dev/vdb  this program, the hand-in, the kit: a tar
//! ```
//!
//! What comes back are records of runs, and they are judged out here: no verdict made inside is believed. (Root inside can
//! still forge a record, as a submission that owns the kernel below the observer always can.)
//!
//! Look: `grade in-machine task1 --submission DIR`. Manual: qemu-system-x86_64(1), systemd.system-credentials(7).

mod image;
mod pack;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::work::child::LIMIT;
use crate::arguments::{hexadecimal, positive};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::grading::{self, Grade, Request};
use crate::judge::{self, Style};
use crate::report::{Format, NotGraded, write};
use crate::submission::{self, kit::Kit};
use crate::task::Task;

pub use image::Image;
use results::Results;

/// Where qemu's files are while it runs, below the current directory.
const FOLDER: &str = "machine";
/// What qemu says, and goes on, where the machine below is a virtual one that cannot be a host as well.
const BROKEN_KVM: &str = "KVM internal error";
/// How often it is looked whether the machine has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Grade one task of a submission in a throwaway virtual machine; writes its reports to the current directory
#[derive(Debug, Clone, clap::Args)]
pub struct InMachine {
    /// The task
    task: Task,
    /// What was handed in: a folder, a .tar.gz, .tar.xz or .zip, or the program itself
    #[arg(long, value_name = "PATH")]
    submission: PathBuf,
    /// Folder of the machine's image, as `vm/build base` leaves it
    #[arg(long, value_name = "DIR", env = "VM_OUT", default_value = "vm/out")]
    image: PathBuf,
    /// Folder of the course's kit
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// Number that everything random in the box follows from
    #[arg(long, value_name = "N", value_parser = hexadecimal)]
    seed: Option<u64>,
    /// How much hints say
    #[arg(long, value_name = "0..3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    hint: u8,
    /// Factor on all time limits
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    time_scale: f64,
    /// Write what was seen in each run to DIR/run-N.json
    #[arg(long, value_name = "DIR", default_value = "runs")]
    record: PathBuf,
    /// End when the process that started this one does
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

impl InMachine {
    /// Grades it; the exit code is that of `grade taskN`.
    ///
    /// # Errors
    /// `Exit::CannotRun` when there can be no machine here; `Exit::Usage` and `Exit::Missing` as the grader inside says;
    /// `Exit::Broken` when it gave no result.
    pub fn run(&self) -> Result<u8> {
        if self.end_with_parent {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
                .map_err(|errno| Error::broken(format!("cannot bind its life to its parent's: {errno}")))?;
        }
        let graded = self.grade();
        // What is left of it has a temporary name, which no later step reads.
        let _ = fs::remove_dir_all(FOLDER);
        match graded {
            Ok(grade) => {
                self.tell(&grade)?;
                Ok(grade.exit_code())
            }
            Err(error) => {
                let what = NotGraded { task: self.task, submission: Some(&self.submission), error: &error };
                for (format, file) in FORMATS {
                    let _ = write(Some(Path::new(file)), &format.render_not_graded(&what)?);
                }
                Err(error)
            }
        }
    }

    fn grade(&self) -> Result<Grade> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let image = Image::open(&self.image)?;
        let folder = Path::new(FOLDER);
        fs::create_dir(folder).or_cannot("make the folder", folder).into_usage()?;
        let seed = self.seed.unwrap_or_else(grading::random_seed);
        let (given, result) = (folder.join("in"), folder.join("out"));
        pack::pack(&given, &self.submission, self.kit.as_deref(), |handin, kit| self.arguments(handin, kit, seed))?;
        results::make(&result)?;
        self.boot(&image, &given, &result)?;
        let console = || fs::read_to_string(folder.join("console")).unwrap_or_default();
        let results = results::read(&result).map_err(|why| {
            let said = console().lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            Error::broken(format!(
                "the virtual machine gave no result that can be read: {why}; its console said last: {said}"
            ))
        })?;
        self.judged(results, seed, started, clock)
    }

    /// The command line inside.
    fn arguments(&self, handin: &Path, kit: Option<&Path>, seed: u64) -> Vec<String> {
        let mut words = vec![self.task.id().to_owned(), format!("--submission={}", handin.display())];
        words.extend(kit.map(|kit| format!("--kit={}", kit.display())));
        words.extend([format!("--seed={seed:x}"), format!("--time-scale={}", self.time_scale)]);
        words
    }

    /// Runs the machine to its end: with the processor's own virtualisation where that works, else emulated.
    fn boot(&self, image: &Image, given: &Path, result: &Path) -> Result<()> {
        if image.may_use_kvm() && self.boots(image, true, given, result)? {
            return Ok(());
        }
        match self.boots(image, false, given, result)? {
            true => Ok(()),
            false => Err(Error::broken("the virtual machine stopped".to_owned())),
        }
    }

    /// Whether it ran to its end; not, where the processor's virtualisation turns out to be broken.
    fn boots(&self, image: &Image, uses_kvm: bool, given: &Path, result: &Path) -> Result<bool> {
        let said = Path::new(FOLDER).join("qemu");
        let stderr = fs::File::create(&said).or_cannot("write", &said).into_usage()?;
        let read = || fs::read_to_string(&said).unwrap_or_default();
        // Ends with this process, even a killed one.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.args(image.qemu(uses_kvm, given, result, &Path::new(FOLDER).join("console")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut qemu = command.spawn().map_err(|why| Error::cannot_run(format!("cannot run setpriv: {why}")))?;
        let (begun, limit) = (Instant::now(), LIMIT.mul_f64(self.time_scale.max(1.0)));
        let status = loop {
            match qemu.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if uses_kvm && read().contains(BROKEN_KVM) => {
                    let _ = qemu.kill().and_then(|()| qemu.wait());
                    return Ok(false);
                }
                Ok(None) if begun.elapsed() < limit => std::thread::sleep(LOOK),
                Ok(None) => {
                    let _ = qemu.kill().and_then(|()| qemu.wait());
                    return Err(Error::broken(format!("the virtual machine did not end within {} s", limit.as_secs())));
                }
                Err(why) => return Err(Error::broken(format!("cannot wait for qemu: {why}"))),
            }
        };
        let said = read();
        let said = said.lines().next().unwrap_or_default();
        match status.code() {
            Some(0) => Ok(true),
            // It could not start; a guest cannot bring this about.
            Some(1 | 127) => Err(Error::cannot_run(format!("cannot start a virtual machine: {said}"))),
            _ => Err(Error::broken(format!("qemu ended with {status}: {said}"))),
        }
    }

    /// Judges what the records say.
    fn judged(&self, results: Results, seed: u64, started: SystemTime, clock: Instant) -> Result<Grade> {
        if let Some(error) = results.error {
            return Err(match (results.exit_code, results.missing) {
                (2, true) => Error::missing(error),
                (2, false) => Error::usage(error),
                // That the machine cannot grade is no reason to end all others: what came out of it is not believed so far.
                _ => Error::broken(format!("in the virtual machine: {error}")),
            });
        }
        let request = Request {
            task: self.task,
            submission: Some(self.submission.clone()),
            kit: Kit::default(),
            only: Vec::new(),
            seed,
            runs: grading::usual_runs(self.task),
            keep: false,
            time_scale: self.time_scale,
        };
        if results.build_error.is_none() && results.runs.len() != request.runs as usize {
            let count = results.runs.len();
            return Err(Error::broken(format!("the virtual machine gave {count} records instead of {}", request.runs)));
        }
        let grade = request.judge_again(results.runs, Style { is_rust: results.is_rust })?;
        let verdicts = match &results.build_error {
            None => grade.verdicts,
            Some(_) => judge::not_built(&grade.rubric),
        };
        Ok(Grade {
            verdicts,
            submission: self.submission.display().to_string(),
            student: submission::student(&self.submission),
            notes: results.notes,
            build_error: results.build_error,
            started,
            took: clock.elapsed(),
            ..grade
        })
    }

    /// Writes its reports and records.
    fn tell(&self, grade: &Grade) -> Result<()> {
        fs::create_dir_all(&self.record).or_cannot("make the folder", &self.record).into_usage()?;
        for (run, nth) in grade.runs.iter().zip(1..) {
            let file = self.record.join(format!("run-{nth}.json"));
            let json = serde_json::to_string(run).map_err(|why| Error::broken(why.to_string()))?;
            fs::write(&file, json + "\n").or_cannot("write", &file).into_usage()?;
        }
        for (format, file) in FORMATS {
            write(Some(Path::new(file)), &format.render(grade, usize::from(self.hint))?)?;
        }
        Ok(())
    }
}

/// The reports that a class keeps of each task.
const FORMATS: [(Format, &str); 4] = [
    (Format::Json, "report.json"),
    (Format::Text, "report.txt"),
    (Format::Junit, "junit.xml"),
    (Format::Gradescope, "results.json"),
];
