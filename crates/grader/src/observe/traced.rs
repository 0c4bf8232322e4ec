//! Watching by ptrace(2): every call that matters is seen as it happens, with the state of the process that makes it.
//!
//! A tracer that stopped every system call would make a program several times slower. Here a seccomp filter, loaded
//! before the first exec and inherited by every child, lets the kernel stop only at the calls listed in [`calls`]; the
//! rest run at full speed. Children are attached to by the kernel before their first instruction, so nothing they do is
//! missed. `PTRACE_SEIZE` rather than `ATTACH` is used because it tells a stop by the tracer from one by SIGSTOP.
//! Look: `grep -E 'TracerPid|Seccomp' /proc/PID/status` from outside; inside, a tracer of another PID namespace is 0.
//! Manual: ptrace(2), seccomp(2).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};

use super::output::Collected;
use super::sampler::{self, Watch, is_container_prog};
use super::{FirstEnd, Recorder, calls, snapshot};
use crate::error::{OrCannot, Result};
use crate::pace::Pace;
use crate::record::{EventKind, FileId, Pid, ProcessState, Snapshot};
use crate::sandbox::proc;
use crate::sandbox::{Held, Sandbox};
use crate::sys::{self, CallStop, Resume, Waited};

/// How long processes that the first one left may take to end by themselves before they are counted as left behind.
const GRACE: Duration = Duration::from_millis(200);
/// How long a killed box may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long no output may come before it is taken for complete, and how often that is waited for in one run.
const SETTLING: Duration = Duration::from_millis(10);
const MOST_SETTLED: usize = 200;
/// Most text of one write that is kept.
const MOST_TEXT: usize = 64 * 1024;

/// Attaches to a program that waits at its gate.
///
/// # Errors
/// `Exit::CannotRun` where ptrace is forbidden.
pub fn attach(held: &Held) -> Result<()> {
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(nix::unistd::Pid::from_raw(held.pid()), options).or_cannot("trace", "the submission")
}

/// Watches the program `root` and all it starts, until it has ended.
///
/// To be called on the thread that attached. Returns how it ended and the box as it was then; the box's other processes
/// are still traced: after the box is killed, [`let_go`] must be called, or their deaths are never completed.
pub fn watch(
    host: &Sandbox,
    recorder: &Recorder,
    watch: &Watch,
    root: Pid,
    streams: [Option<FileId>; 2],
    collected: &Collected,
) -> (FirstEnd, Snapshot) {
    let mut tracer = Tracer {
        host,
        recorder,
        watch,
        streams,
        collected,
        settled: 0,
        announced: HashSet::from([root]),
        early: HashSet::new(),
        pending: HashMap::new(),
        threads: HashMap::new(),
        dead: Vec::new(),
        faults: HashMap::new(),
    };
    let mut end = FirstEnd { status: None, wall: Duration::ZERO };
    while let Ok(Some(event)) = sys::wait_any(true) {
        tracer.handle(event);
        if event.pid == root && has_ended(event.status) {
            end = FirstEnd { status: Some(event.status), wall: recorder.now() };
            break;
        }
        if event.pid == host.init() && has_ended(event.status) {
            end.wall = recorder.now();
            break;
        }
    }
    let mut pace = Pace::start();
    while pace.passed() < GRACE && !snapshot::processes(host.init()).is_empty() {
        pace.tick(|| sampler::running(host));
        match sys::wait_any(false) {
            Ok(Some(event)) => tracer.handle(event),
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    (end, snapshot::take(host))
}

/// Kills the box and waits until the last tracee is gone: a tracer must be told of each death, or it is not complete.
pub fn let_go(host: &Sandbox) {
    let start = Instant::now();
    let mut killed = None;
    while start.elapsed() < PATIENCE {
        // Again and again: something in the box may freeze it at the wrong moment.
        if killed.is_none_or(|at: Instant| at.elapsed() > Duration::from_millis(100)) {
            host.kill();
            killed = Some(Instant::now());
        }
        match sys::wait_any(false) {
            Ok(Some(event)) if has_ended(event.status) => {}
            // ESRCH: it died meanwhile.
            Ok(Some(event)) => drop(sys::resume(event.pid, Resume::Run, 0)),
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
            Err(_) => return,
        }
    }
}

struct Tracer<'a> {
    host: &'a Sandbox,
    recorder: &'a Recorder,
    watch: &'a Watch,
    /// The files behind stdout and stderr.
    streams: [Option<FileId>; 2],
    /// What came out of them.
    collected: &'a Collected,
    /// How often the output was waited for.
    settled: usize,
    /// Threads whose parent has told of them.
    announced: HashSet<Pid>,
    /// Threads that stand at their first stop, and whose parent has not told of them yet: the kernel wakes the child first,
    /// and whichever of the two has the processor is heard first. The record must have a child's actions after its creation.
    early: HashSet<Pid>,
    /// Threads that are in a call of interest.
    pending: HashMap<Pid, Pending>,
    /// The process of each thread, and its state when last seen.
    threads: HashMap<Pid, (Pid, ProcessState)>,
    /// Processes that ended and whose parent has not been told: process and parent.
    dead: Vec<(Pid, Pid)>,
    /// How often each first process of a PID namespace got a signal for a fault of its own.
    faults: HashMap<Pid, (i32, u32)>,
}

/// The signals that the kernel sends for an instruction that cannot be carried out: signal(7).
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
/// So many of them in a row: the instruction is tried again and again.
const MOST_FAULTS: u32 = 50;

/// A call between its entry and its return.
struct Pending {
    name: &'static str,
    args: [u64; 6],
    decoded: String,
    /// For a write to stdout or stderr: which, the text, and the writer as it was.
    wrote: Option<(u8, Vec<u8>, ProcessState, Duration)>,
    /// How much had come out before a call that writes to stdout and whose text is not in the caller's memory.
    before: Option<usize>,
}

impl Tracer<'_> {
    /// Looks at one change of state, writes down what it means, and lets the thread go on.
    fn handle(&mut self, event: Waited) {
        let Waited { pid, status } = event;
        if has_ended(status) {
            self.ended(pid, status);
            return;
        }
        // A stop: the signal in the second byte, the tracer's event in the third.
        let (signal, kind) = ((status >> 8) & 0xff, status >> 16);
        let mut passed_on = 0;
        match kind {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => self.forked(pid),
            libc::PTRACE_EVENT_EXEC => self.executed(pid),
            libc::PTRACE_EVENT_SECCOMP => self.entering(pid),
            libc::PTRACE_EVENT_STOP if is_stop_signal(signal) => {
                self.watch.note_stopped(pid, true);
                let _ = sys::resume(pid, Resume::StayStopped, 0);
                return;
            }
            libc::PTRACE_EVENT_STOP if !self.announced.contains(&pid) => {
                self.early.insert(pid);
                return;
            }
            libc::PTRACE_EVENT_STOP => self.watch.note_stopped(pid, false),
            0 if signal == libc::SIGTRAP | 0x80 => self.leaving(pid),
            0 => {
                passed_on = signal;
                self.end_if_it_faults_for_ever(pid, signal);
            }
            _ => {}
        }
        let how = if self.pending.contains_key(&pid) { Resume::ToCallEnd } else { Resume::Run };
        // ESRCH: it was killed in this very moment, and its end will be told.
        let _ = sys::resume(pid, how, passed_on);
    }

    /// A fault ends the first process of a PID namespace like any other process, but not while it is traced: the kernel
    /// then protects it from the signal, and it tries the instruction again for ever. See pid_namespaces(7).
    fn end_if_it_faults_for_ever(&mut self, pid: Pid, signal: i32) {
        let is_first = self.threads.get(&pid).is_some_and(|(_, state)| state.inner_pids.last() == Some(&1));
        if !is_first || !FAULTS.contains(&signal) {
            return;
        }
        let (last, times) = self.faults.entry(pid).or_default();
        *times = if *last == signal { *times + 1 } else { 1 };
        *last = signal;
        if *times >= MOST_FAULTS {
            // ESRCH: it is gone already.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }

    fn forked(&mut self, pid: Pid) {
        let Ok(child) = ptrace::getevent(nix::unistd::Pid::from_raw(pid)) else { return };
        let Ok(child) = Pid::try_from(child) else { return };
        self.note_child(pid, child);
        self.announced.insert(child);
        if self.early.remove(&child) {
            let _ = sys::resume(child, Resume::Run, 0);
        }
    }

    fn note_child(&mut self, pid: Pid, child: Pid) {
        // A thread is not a process.
        if proc::process_of(child) != Some(child) {
            return;
        }
        let Some(child_state) = proc::state(child, self.host.cgroups()) else { return };
        self.threads.insert(child, (child, child_state.clone()));
        let (process, state) = self.look(pid);
        self.recorder.note(process, state, EventKind::Born { child, child_state: Box::new(child_state) });
    }

    fn executed(&mut self, pid: Pid) {
        // Another thread's exec takes over the id of the first one; its own entry is void.
        if let Ok(former) =
            ptrace::getevent(nix::unistd::Pid::from_raw(pid)).map(|tid| Pid::try_from(tid).unwrap_or(pid))
        {
            if former != pid {
                self.pending.remove(&former);
                self.threads.remove(&former);
            }
        }
        self.pending.remove(&pid);
        let (process, state) = self.look(pid);
        let argv = proc::argv(pid);
        if is_container_prog(&argv) {
            sampler::sample(self.host, self.recorder, pid);
            self.recorder.find_container_root(self.host);
        }
        self.recorder.note(process, state, EventKind::Exec { argv });
    }

    fn entering(&mut self, pid: Pid) {
        if self.recorder.is_full() {
            return;
        }
        let Ok(CallStop::Entering { nr, args }) = sys::call_stop(pid) else { return };
        let Some(call) = calls::TRACED.iter().find(|call| u64::try_from(call.nr) == Ok(nr)) else { return };
        let wrote = match call.name {
            "write" | "writev" | "pwritev2" | "vmsplice" => match self.stream(pid, args[0]) {
                Some(stream) => {
                    let text = if call.name == "write" {
                        written(pid, args[1], args[2])
                    } else {
                        gathered(pid, args[1], args[2])
                    };
                    Some((stream, text, self.look(pid).1, self.recorder.now()))
                }
                // To another file: not of interest.
                None => return,
            },
            _ => None,
        };
        let before = match calls::target(call.nr, &args) {
            Some(_) if wrote.is_some() => None,
            Some(fd) if self.stream(pid, fd) == Some(1) => Some(self.quiet_output()),
            // To another file: not of interest.
            Some(_) => return,
            None => calls::writes_from_a_queue(call.nr).then(|| self.quiet_output()),
        };
        let decoded = calls::decode(pid, call.name, &args);
        self.pending.insert(pid, Pending { name: call.name, args, decoded, wrote, before });
    }

    fn leaving(&mut self, pid: Pid) {
        let Ok(CallStop::Leaving(result)) = sys::call_stop(pid) else { return };
        let Some(call) = self.pending.remove(&pid) else { return };
        let (process, state) = self.look(pid);
        if let Some((stream, mut text, state, at)) = call.wrote {
            text.truncate(usize::try_from(result).unwrap_or(0));
            if !text.is_empty() {
                let text = String::from_utf8_lossy(&text).into_owned();
                self.recorder.note_at(at, process, state, EventKind::Wrote { stream, text });
            }
            return;
        }
        // Also after a failed wait: for a parent that ignores SIGCHLD the kernel reaps, and wait(2) returns no child.
        self.reaped(process);
        if let Some(before) = call.before {
            self.quiet_output();
            let text = String::from_utf8_lossy(&self.collected.since(1, before)).replace("\r\n", "\n");
            if !text.is_empty() {
                self.recorder.note(process, state, EventKind::Wrote { stream: 1, text });
            }
            return;
        }
        let what = EventKind::Call { name: call.name.to_owned(), args: call.args, decoded: call.decoded, result };
        self.recorder.note(process, state, what);
    }

    /// Waits until no more output comes, and says how much there is.
    fn quiet_output(&mut self) -> usize {
        let mut length = self.collected.length(1);
        self.settled += 1;
        if self.settled > MOST_SETTLED {
            return length;
        }
        loop {
            std::thread::sleep(SETTLING);
            let now = self.collected.length(1);
            if now == length {
                return length;
            }
            length = now;
        }
    }

    /// Records that `by` has reaped its dead children which have left /proc; it may have left that to the kernel.
    fn reaped(&mut self, by: Pid) {
        let gone = |child: Pid| !std::path::Path::new(&format!("/proc/{child}")).exists();
        let collected: Vec<Pid> =
            self.dead.iter().filter(|(child, parent)| *parent == by && gone(*child)).map(|(child, _)| *child).collect();
        self.dead.retain(|(child, _)| !collected.contains(child));
        for child in collected {
            let state = self.threads.remove(&child).map(|(_, state)| state).unwrap_or_default();
            self.recorder.note(child, state, EventKind::Reaped { by });
        }
    }

    fn ended(&mut self, pid: Pid, status: i32) {
        self.pending.remove(&pid);
        self.announced.remove(&pid);
        self.early.remove(&pid);
        // The ended process may be the parent of a thread that still waits to be announced.
        for child in self.early.drain() {
            self.announced.insert(child);
            let _ = sys::resume(child, Resume::Run, 0);
        }
        if pid == self.host.init() {
            return;
        }
        match self.threads.get(&pid) {
            Some((process, state)) if *process == pid => {
                // Whose child it is at the end: an orphan has become init's.
                // Collected while we look, it has parent 0, or none to be read: then its parent was there, the old one.
                let parent = proc::stat(pid).map(|stat| stat.parent).filter(|pid| *pid > 0).unwrap_or(state.parent);
                self.dead.push((pid, parent));
                // An orphan's parent is init, which collects every child: that is not a wait of the program.
                let has_own_parent = parent != self.host.init() && proc::stat(parent).is_some_and(|stat| !stat.exiting);
                let is_collected = has_own_parent && !self.waits(parent);
                let fault =
                    self.faults.remove(&pid).filter(|(_, times)| *times >= MOST_FAULTS).map(|(signal, _)| signal);
                let signal = fault.or_else(|| libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)));
                let code = signal.map_or_else(|| libc::WEXITSTATUS(status), |signal| 128 + signal);
                self.recorder.note(pid, state.clone(), EventKind::Exited { code, signal });
                // Gone already, and no wait was under way: the parent ignores SIGCHLD, and the kernel keeps no zombie for it.
                if is_collected {
                    self.reaped(parent);
                }
            }
            _ => {
                self.threads.remove(&pid);
            }
        }
    }

    /// Whether a thread of `process` is in a wait.
    fn waits(&self, process: Pid) -> bool {
        self.pending.iter().any(|(tid, call)| {
            let of = self.threads.get(tid).map_or(*tid, |(process, _)| *process);
            of == process && matches!(call.name, "wait4" | "waitid")
        })
    }

    /// The process that thread `tid` belongs to, and the thread's state now.
    fn look(&mut self, tid: Pid) -> (Pid, ProcessState) {
        let process = match self.threads.get(&tid) {
            Some((process, _)) => *process,
            None => proc::process_of(tid).unwrap_or(tid),
        };
        let last = || self.threads.get(&tid).map(|(_, state)| state.clone()).unwrap_or_default();
        let state =
            proc::state(tid, self.host.cgroups()).filter(|state| !state.namespaces.is_empty()).unwrap_or_else(last);
        self.threads.insert(tid, (process, state.clone()));
        (process, state)
    }

    /// Which of the streams we gave stands behind descriptor `fd` of `pid`.
    fn stream(&self, pid: Pid, fd: u64) -> Option<u8> {
        let behind = proc::file_id(&format!("/proc/{pid}/fd/{}", fd as i32))?;
        let nth = self.streams.iter().position(|stream| *stream == Some(behind))?;
        u8::try_from(nth + 1).ok()
    }
}

/// The text that `write(fd, address, length)` is about to write.
pub fn written(pid: Pid, address: u64, length: u64) -> Vec<u8> {
    proc::memory(pid, address, usize::try_from(length).unwrap_or(0).min(MOST_TEXT))
}

/// The text that `writev(fd, vectors, count)`, or pwritev2(2), is about to write.
pub fn gathered(pid: Pid, vectors: u64, count: u64) -> Vec<u8> {
    let table = proc::memory(pid, vectors, usize::try_from(count).unwrap_or(0).min(1024) * 16);
    let mut text = Vec::new();
    for entry in table.chunks_exact(16) {
        let word = |range: std::ops::Range<usize>| {
            entry.get(range).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
        };
        text.extend(written(pid, word(0..8), word(8..16)));
        if text.len() > MOST_TEXT {
            break;
        }
    }
    text
}

fn has_ended(status: i32) -> bool {
    libc::WIFEXITED(status) || libc::WIFSIGNALED(status)
}

fn is_stop_signal(signal: i32) -> bool {
    [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}
