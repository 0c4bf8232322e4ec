//! A look at the box a few dozen times a second, by a thread that both observers share: which processes compute, and under which limit.
//! Another thread sees whether the time is up.
//!
//! A quota is only a promise until the kernel counts its periods: `nr_periods` in `cpu.stat` moves while a limited cgroup
//! is busy, and stays at zero where there is no limit. It can only be seen by looking while the program computes.
//! Look: `watch cat /sys/fs/cgroup/…/cpu.stat`. Manual: cgroups(7), the kernel's cgroup-v2 document, "CPU".

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use nix::sys::signalfd::SignalFd;

use super::{Recorder, calls, snapshot};
use crate::pace::Pace;
use crate::record::{Pid, Sample, Snapshot};
use crate::sandbox::proc;
use crate::sandbox::{INIT, Sandbox, readable};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(25);
/// CPU time between two looks from which a process counts as busy: two ticks of the kernel's clock.
const BUSY: Duration = Duration::from_millis(20);
/// How long the last look before the end of a run may take.
const LAST_LOOK: Duration = Duration::from_millis(400);
/// Most samples of one run.
const MOST_SAMPLES: usize = 4000;

/// Why a run was ended before its program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The time was up; where the first process stood.
    Time(String),
    /// More output than the limit.
    Output,
    /// A signal to the grader.
    Signal(i32),
}

/// What the threads of one run share: when to stop looking, and why the run was cut short.
#[derive(Debug, Default)]
pub struct Watch {
    over: Mutex<bool>,
    woken: Condvar,
    cut: Mutex<Option<(Cut, Option<Snapshot>)>>,
    /// Processes that a signal has stopped, as the tracer knows: to `/proc` each of its stops looks the same.
    stopped: Mutex<BTreeSet<Pid>>,
}

impl Watch {
    /// Ends the looking.
    pub fn finish(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_all();
    }

    /// Ends the run now, for this reason; the first reason stays, unless a signal asks the grader to end.
    ///
    /// The box is looked at once more before it dies, and not waited for.
    pub fn cut(&self, host: &Sandbox, why: Cut) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *cut {
            Some((reason, _)) if matches!(why, Cut::Signal(_)) => *reason = why,
            Some(_) => {}
            None => *cut = Some((why, briefly(host, || snapshot::take(host)))),
        }
        drop(cut);
        host.kill();
    }

    /// Why the run was cut short, if it was.
    pub fn reason(&self) -> Option<Cut> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(why, _)| why.clone())
    }

    /// The box as it was when the run was cut short, if it was.
    pub fn last_look(&self) -> Option<Snapshot> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|(_, shot)| shot.clone())
    }

    /// Notes whether a signal has stopped `pid`.
    pub fn note_stopped(&self, pid: Pid, stopped: bool) {
        let mut known = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped {
            known.insert(pid);
        } else {
            known.remove(&pid);
        }
    }

    fn has_stopped(&self, pid: Pid) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
    }

    /// Sleeps until it is time for the next look; false when there is none.
    fn pause(&self) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.woken.wait_timeout_while(over, INTERVAL, |over| !*over);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Watches the clock until [`Watch::finish`]; cuts the run when the time is up or a signal came.
///
/// A thread of its own, and one that looks at nothing: a look may have to wait for the box. Returns by how much the machine
/// was crowded.
pub fn keep_time(host: &Sandbox, watch: &Watch, root: Pid, limit: Duration, signals: &SignalFd) -> f64 {
    let mut pace = Pace::start();
    while watch.pause() {
        pace.tick(|| running(host));
        if let Some(signal) = pending(signals) {
            watch.cut(host, Cut::Signal(signal));
        }
        if pace.passed() > limit && watch.reason().is_none() {
            let stood = briefly(host, || where_it_stands(root, watch));
            watch.cut(host, Cut::Time(stood.unwrap_or_else(|| "where it could not be looked at".to_owned())));
        }
    }
    pace.average()
}

/// How many processes of the box run or want to.
pub fn running(host: &Sandbox) -> usize {
    let wants = |pid: &Pid| proc::stat(*pid).is_some_and(|stat| stat.state == 'R');
    host.cgroups().processes().iter().filter(|pid| wants(pid)).count()
}

/// Looks, and gives up soon: then the box is killed, and with it whatever the look waits for.
fn briefly<T: Send>(host: &Sandbox, look: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let (tell, heard) = mpsc::channel();
        scope.spawn(move || tell.send(look()));
        let seen = heard.recv_timeout(LAST_LOOK).ok();
        if seen.is_none() {
            host.kill();
        }
        seen
    })
}

/// Looks until [`Watch::finish`].
pub fn look(host: &Sandbox, recorder: &Recorder, watch: &Watch) {
    let mut used: HashMap<Pid, Duration> = HashMap::new();
    while watch.pause() {
        recorder.find_container_root(host);
        recorder.note_new_cgroups(host);
        for pid in host.cgroups().processes().into_iter().filter(|pid| *pid != host.init()) {
            let Some(stat) = proc::stat(pid) else { continue };
            let before = used.insert(pid, stat.cpu).unwrap_or_default();
            if stat.cpu.saturating_sub(before) >= BUSY || is_container_prog(&proc::argv(pid)) {
                sample(host, recorder, pid);
            }
        }
    }
}

/// Adds one look at `pid` to the record.
pub fn sample(host: &Sandbox, recorder: &Recorder, pid: Pid) {
    let (Some(stat), Some(state)) = (proc::stat(pid), proc::state(pid, host.cgroups())) else { return };
    if stat.state == 'Z'
        || state.cgroups.is_empty()
        || state.cgroups.get("").is_some_and(|cgroup| cgroup == &format!("/{INIT}"))
    {
        return;
    }
    let limits = host.cgroups().cpu_limits(&state.cgroups);
    // When it goes, its cgroup may go too: then what was just read is not what it ran under.
    if proc::stat(pid).is_none_or(|stat| stat.exiting) {
        return;
    }
    let sample = Sample { at: recorder.now(), pid, argv: proc::argv(pid), state, cpu: stat.cpu, limits };
    recorder.add_sample(sample, MOST_SAMPLES);
}

/// Whether these are the arguments of Task 2's program in the container.
pub fn is_container_prog(argv: &[String]) -> bool {
    argv.first()
        .is_some_and(|program| program.rsplit('/').next().is_some_and(|name| name.starts_with("container_prog")))
}

/// What `pid` does at this moment, for a person: `asleep in wait4 on child 2`.
pub fn where_it_stands(pid: Pid, watch: &Watch) -> String {
    let Some(stat) = proc::stat(pid) else { return "already gone".to_owned() };
    match stat.state {
        'T' => return "stopped by a signal".to_owned(),
        't' if watch.has_stopped(pid) => return "stopped by a signal".to_owned(),
        't' => return format!("making calls without end, {:.1} s of CPU time used", stat.cpu.as_secs_f64()),
        'R' => return format!("computing, {:.1} s of CPU time used", stat.cpu.as_secs_f64()),
        'Z' => return "ended, but not collected".to_owned(),
        _ => {}
    }
    let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    match proc::blocked_call(pid) {
        Some(call) => format!("asleep in {}", calls::blocked(pid, &call)),
        None if wchan.is_empty() || wchan == "0" => "asleep".to_owned(),
        None => format!("asleep in the kernel's {wchan}"),
    }
}

fn pending(signals: &SignalFd) -> Option<i32> {
    let is_pending = readable(signals.as_fd(), Duration::ZERO);
    let read = is_pending.then(|| signals.read_signal().ok().flatten()).flatten();
    read.and_then(|info| i32::try_from(info.ssi_signo).ok())
}
