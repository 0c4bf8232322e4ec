//! `grade taskN` as a process.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Ended, Job, Options, StoredReport, read};
use crate::class::Where;
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::signals::Signals;

/// Longer than any task takes: the grader's own limits end a hung submission long before. Times `--time-scale`.
pub const LIMIT: Duration = Duration::from_secs(3600);
/// How long one that was asked to end may take before it is killed.
pub const GRACE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// One try.
pub struct Child<'a> {
    pub options: &'a Options,
    pub job: &'a Job,
    /// The folder for its files.
    pub part: &'a Path,
    /// Where those of an earlier time are.
    pub old: &'a Path,
}

impl Child<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the child's words when this machine cannot grade; `Exit::Interrupted` when a signal ended it.
    pub fn run(&self, children: &Children) -> Result<Ended> {
        let said = self.part.join("stderr");
        let stderr = File::create(&said).or_cannot("write", &said).into_usage()?;
        let mut child = self.command().or_cannot("start", "grade").into_broken()?;
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = child.spawn().or_cannot("start", "grade").into_broken()?;
        let pid = Pid::from_raw(child.id().try_into().unwrap_or(i32::MAX));
        children.add(pid);
        let (mut begun, mut next) = (Instant::now(), Signal::SIGTERM);
        let mut limit = LIMIT.mul_f64(self.options.time_scale.max(1.0));
        let status = loop {
            if let Some(status) = children.ended(&mut child).or_cannot("start", "grade").into_broken()? {
                break status;
            }
            if begun.elapsed() > limit {
                let _ = kill(pid, next);
                (begun, limit, next) = (Instant::now(), GRACE, Signal::SIGKILL);
            }
            std::thread::sleep(LOOK);
        };
        let said = read(&said).trim().trim_start_matches("grade: ").to_owned();
        if let Some(signal) = children.signal() {
            return Err(Error::interrupted(signal));
        }
        match status.code() {
            Some(0..=2) => Ok(Ended::Done),
            Some(3) => Err(Error::cannot_run(said)),
            _ => Ok(Ended::Doubtful),
        }
    }

    fn command(&self) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        // The files have no names that a comma could split: they are below the current directory.
        command.current_dir(self.part).process_group(0);
        if self.options.place == Where::Vm && !self.options.rejudge {
            command.arg("in-machine").arg(self.job.task.id()).arg("--end-with-parent");
            command.arg("--image").arg(std::path::absolute(&self.options.image)?);
        } else {
            command.arg(self.job.task.id()).args(["--end-with-parent", "--format"]);
            command.arg("json=report.json,text=report.txt,junit=junit.xml,gradescope=results.json");
        }
        command.arg("--hint").arg(self.options.hint.to_string());
        command.arg("--time-scale").arg(self.options.time_scale.to_string());
        // The same hand-in has the same seed, and so the same report.
        command.arg("--seed").arg(self.job.stamp.get(..16).unwrap_or("0"));
        if let Some(kit) = &self.options.kit {
            command.arg("--kit").arg(std::path::absolute(kit)?);
        }
        if self.options.rejudge {
            let mut runs: Vec<_> =
                std::fs::read_dir(self.part.join("runs"))?.flatten().map(|it| it.file_name()).collect();
            runs.sort();
            for run in runs {
                command.arg("--replay").arg(Path::new("runs").join(run));
            }
            let old = StoredReport::read(&self.old.join("report.json")).ok().flatten();
            if !old.is_some_and(|report| report.is_rust) {
                command.arg("--replay-c");
            }
        } else {
            command.args(["--record", "runs"]).arg("--submission").arg(std::path::absolute(&self.job.submission)?);
        }
        Ok(command)
    }
}

/// The processes that grade now. A signal that asks this program to end asks them, and they take their boxes down.
#[derive(Debug)]
pub struct Children {
    signals: Signals,
    running: Mutex<Vec<Pid>>,
    received: AtomicI32,
    is_over: AtomicBool,
}

impl Children {
    /// No child yet. Blocks the signals from here on; children start with none blocked.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn new() -> Result<Self> {
        let (running, received, is_over) = Default::default();
        Ok(Self { signals: Signals::block()?, running, received, is_over })
    }

    /// Does `work` while a thread reads the signals.
    pub fn watched(&self, work: impl FnOnce()) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !self.is_over.load(Ordering::Acquire) {
                    if let Ok(Some(signal)) = self.signals.fd.read_signal() {
                        self.received.store(signal.ssi_signo.try_into().unwrap_or(0), Ordering::Release);
                        self.end();
                    }
                    std::thread::sleep(LOOK);
                }
            });
            work();
            self.is_over.store(true, Ordering::Release);
        });
    }

    /// The signal that came.
    pub fn signal(&self) -> Option<i32> {
        Some(self.received.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }

    /// Asks each to end.
    pub fn end(&self) {
        for pid in self.running().iter() {
            let _ = kill(*pid, Signal::SIGTERM);
        }
    }

    fn add(&self, pid: Pid) {
        self.running().push(pid);
        // It may have begun after the others were asked.
        if self.signal().is_some() {
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// How the child ended, once it has. Until it is reaped its process id is not reused, so a signal reaches no other process.
    fn ended(&self, child: &mut std::process::Child) -> std::io::Result<Option<ExitStatus>> {
        let mut running = self.running();
        let status = child.try_wait()?;
        if status.is_some() {
            running.retain(|pid| pid.as_raw().unsigned_abs() != child.id());
        }
        Ok(status)
    }

    fn running(&self) -> MutexGuard<'_, Vec<Pid>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
