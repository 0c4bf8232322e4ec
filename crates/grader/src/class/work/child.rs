//! `grade taskN` as a process, and the signals that end all of them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::super::folder::cannot;
use super::{Class, Ended, Job, Report, read};
use crate::fault::Fault;

/// Longer than any task takes: the grader's own limits end a hung submission long before. Times `--time-scale`.
const LIMIT: Duration = Duration::from_secs(3600);
/// How long one that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// One try.
pub struct Child<'a> {
    pub class: &'a Class,
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
    /// [`Fault::CannotRun`] with the child's words when this machine cannot grade; [`Fault::Interrupted`] when a signal ended it.
    pub fn run(&self, signals: &Signals) -> Result<Ended, Fault> {
        let broken = |why: std::io::Error| Fault::Broken(format!("cannot start grade: {why}"));
        let said = self.part.join("stderr");
        let stderr = File::create(&said).map_err(cannot("write", &said))?;
        let mut child = self.command().map_err(broken)?;
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = child.spawn().map_err(broken)?;
        let pid = Pid::from_raw(child.id().try_into().unwrap_or(i32::MAX));
        signals.add(pid);
        let (mut begun, mut next) = (Instant::now(), Signal::SIGTERM);
        let mut limit = LIMIT.mul_f64(self.class.time_scale.max(1.0));
        let status = loop {
            if let Some(status) = signals.ended(&mut child).map_err(broken)? {
                break status;
            }
            if begun.elapsed() > limit {
                let _ = kill(pid, next);
                (begun, limit, next) = (Instant::now(), GRACE, Signal::SIGKILL);
            }
            std::thread::sleep(LOOK);
        };
        let said = read(&said).trim().trim_start_matches("grade: ").to_owned();
        match status.code() {
            _ if signals.received().is_some() => Err(Fault::Interrupted(signals.received().unwrap_or(0))),
            Some(0..=2) => Ok(Ended::Done),
            Some(3) => Err(Fault::CannotRun(said)),
            _ => Ok(Ended::Doubtful),
        }
    }

    fn command(&self) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        // The files have no names that a comma could split: they are below the current directory.
        command.current_dir(self.part).process_group(0).arg(self.job.task.id());
        command.args(["--end-with-parent", "--format"]);
        command.arg("json=report.json,text=report.txt,junit=junit.xml,gradescope=results.json");
        command.arg("--hint").arg(self.class.hint.to_string());
        command.arg("--time-scale").arg(self.class.time_scale.to_string());
        // The same hand-in has the same seed, and so the same report.
        command.arg("--seed").arg(self.job.stamp.get(..16).unwrap_or("0"));
        if let Some(kit) = &self.class.kit {
            command.arg("--kit").arg(std::path::absolute(kit)?);
        }
        if self.class.rejudge {
            let mut runs: Vec<_> =
                std::fs::read_dir(self.part.join("runs"))?.flatten().map(|it| it.file_name()).collect();
            runs.sort();
            for run in runs {
                command.arg("--replay").arg(Path::new("runs").join(run));
            }
            let old = Report::read(&self.old.join("report.json")).ok().flatten();
            if !old.is_some_and(|report| report.is_rust) {
                command.arg("--replay-c");
            }
        } else {
            command.args(["--record", "runs"]).arg("--submission").arg(&self.job.submission);
        }
        Ok(command)
    }
}

/// SIGINT, SIGTERM and SIGHUP of the whole program: the children are asked to end, which take their boxes down.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    children: Mutex<Vec<Pid>>,
    received: AtomicI32,
    is_over: AtomicBool,
}

impl Signals {
    /// Blocks them, so that they wait to be read. A child starts with none blocked.
    pub fn block() -> Result<Self, Fault> {
        let broken = |errno: Errno| Fault::Broken(format!("cannot block signals: {errno}"));
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block().map_err(broken)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(broken)?;
        let (children, received, is_over) = Default::default();
        Ok(Self { fd, children, received, is_over })
    }

    /// Does `work` while a thread reads the signals.
    pub fn watched(&self, work: impl FnOnce()) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !self.is_over.load(Ordering::Acquire) {
                    if let Ok(Some(signal)) = self.fd.read_signal() {
                        self.received.store(signal.ssi_signo.try_into().unwrap_or(0), Ordering::Release);
                        self.end_children();
                    }
                    std::thread::sleep(LOOK);
                }
            });
            work();
            self.is_over.store(true, Ordering::Release);
        });
    }

    /// The signal that came.
    pub fn received(&self) -> Option<i32> {
        Some(self.received.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }

    /// Asks every child to end.
    pub fn end_children(&self) {
        for pid in self.children.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter() {
            let _ = kill(*pid, Signal::SIGTERM);
        }
    }

    fn add(&self, pid: Pid) {
        self.children.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(pid);
        // It may have begun after the others were told.
        if self.received().is_some() {
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// How the child ended, once it has. Until then its number is its own, so a signal meets nobody else.
    fn ended(&self, child: &mut std::process::Child) -> std::io::Result<Option<ExitStatus>> {
        let mut children = self.children.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let status = child.try_wait()?;
        if status.is_some() {
            children.retain(|pid| pid.as_raw().unsigned_abs() != child.id());
        }
        Ok(status)
    }
}
