//! Watching without a tracer: writers wait at a full pipe, and the box is frozen while it is looked at.
//!
//! The program's stdout is a pipe of a single slot, in packet mode, and the slot is kept full: a writer sleeps in
//! write(2) until we take the packet in front of it. `/proc/PID/syscall` shows that it sleeps there, and where its text
//! lies. Then the cgroup freezer stops every process of the box, `/proc` is read as one picture, and the box goes on; one
//! packet is taken, so one write goes through and is the next plug. The program has no tracer, no filter, nothing
//! preloaded: it cannot tell this run from one into a slow pager.
//! In task 1 the box's guard, which every run has, also holds each process at its end: one that writes nothing is seen there.
//! Look: `cat /proc/PID/syscall` of a writer into `| sleep 100`. Manual: pipe(7) (`O_DIRECT`), proc(5), cgroups(7).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::output::Collected;
use super::sampler::{self, Cut, Watch, is_container_prog};
use super::traced::{gathered, written};
use super::{FirstEnd, Recorder, calls, snapshot};
use crate::error::{IntoExit, OrCannot, Result};
use crate::pace::Pace;
use crate::record::{EventKind, FileId, Pid, ProcessState, Snapshot, UNKNOWN_WRITER};
use crate::sandbox::proc;
use crate::sandbox::{Ending, Sandbox, readable};

/// How long processes that the first one left may take to end by themselves before they are counted as left behind.
const GRACE: Duration = Duration::from_millis(200);
/// Most times that the box is frozen; a program that writes more often is read without being held.
const MOST_HOLDS: usize = 400;
/// Most ends of processes that are looked at: a fork bomb shows in the first few.
const MOST_ENDS: usize = 300;
/// Longest packet: one page.
const PACKET: usize = 4096;

/// A pipe whose only slot is always full.
#[derive(Debug)]
pub struct PluggedPipe {
    read: File,
    write: File,
    id: FileId,
}

impl PluggedPipe {
    /// Makes the pipe and plugs it.
    ///
    /// # Errors
    /// `Exit::Broken` with the kernel's reason.
    pub fn new() -> Result<PluggedPipe> {
        const PIPE: &str = "a pipe that holds writers";
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT).or_cannot("make", PIPE).into_broken()?;
        // The kernel rounds up to a page, which is one slot.
        fcntl_setpipe_size(&write, 1).or_cannot("make", PIPE).into_broken()?;
        let (read, mut write) = (File::from(read), File::from(write));
        write.write_all(&[0]).or_cannot("make", PIPE).into_broken()?;
        let meta = rustix::fs::fstat(&read).or_cannot("make", PIPE).into_broken()?;
        Ok(PluggedPipe { read, write, id: FileId { dev: meta.st_dev, ino: meta.st_ino } })
    }

    /// The end to write to.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Takes the packet that plugs the pipe; `None` when there is none.
    fn take(&mut self) -> Option<Vec<u8>> {
        if !self.is_full() {
            return None;
        }
        let mut packet = vec![0; PACKET];
        let got = self.read.read(&mut packet).ok()?;
        packet.truncate(got);
        Some(packet)
    }

    fn is_full(&self) -> bool {
        self.wait_full(Duration::ZERO)
    }

    /// Waits until a packet is in.
    fn wait_full(&self, limit: Duration) -> bool {
        readable(self.read.as_fd(), limit)
    }

    /// A program that made its stdout non-blocking would lose what it writes here.
    fn keep_blocking(&self) {
        if rustix::fs::fcntl_getfl(&self.write).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
            let _ = rustix::fs::fcntl_setfl(&self.write, OFlags::DIRECT);
        }
    }
}

/// Watches the program `root` until it has ended; returns how, and the box as it was then.
///
/// # Errors
/// `Exit::Broken` when init's word cannot be understood.
pub fn watch(
    host: &Sandbox,
    recorder: &Recorder,
    watch: &Watch,
    root: (Pid, &ProcessState),
    pipe: PluggedPipe,
    ends: Option<Receiver<Ending>>,
    collected: &Collected,
) -> Result<(FirstEnd, Snapshot)> {
    let mut freezer = Freezer {
        host,
        recorder,
        watch,
        collected,
        pipe,
        plug: Plug::Filler,
        candidates: Vec::new(),
        known: HashMap::new(),
        holds: 0,
    };
    let root_in_box = root.1.inner_pids.get(1).copied().unwrap_or(0);
    let mut pause = Duration::from_millis(1);
    let end = std::thread::scope(|scope| {
        let look = || ends.into_iter().flatten().take(MOST_ENDS).filter_map(|it| look_at_the_end(host, recorder, &it));
        // The first process ends last.
        let looks = scope.spawn(move || look().filter(|(_, pid, _)| *pid == root.0).last());
        let end = loop {
            match host.ended(pause) {
                Ok(Some((pid, status))) if pid == root_in_box || pid == 0 => {
                    break Ok(FirstEnd { status: (pid != 0).then_some(status), wall: recorder.now() });
                }
                Ok(_) => {}
                Err(error) => break Err(error),
            }
            // Quick while it writes, seldom while it computes.
            pause = if freezer.step() { Duration::from_millis(1) } else { (pause * 2).min(Duration::from_millis(8)) };
        };
        host.no_more_ends();
        let first = looks.join().ok().flatten().filter(|_| !host.missed_an_end());
        if let Some((at, pid, state)) = first {
            // It is noted when every end was looked at, and says so.
            let what =
                EventKind::Call { name: "exit_group".to_owned(), args: [0; 6], decoded: String::new(), result: 0 };
            recorder.note_at(at, pid, state, what);
        }
        end
    })?;
    let mut pace = Pace::start();
    while pace.passed() < GRACE && !snapshot::processes(host.init()).is_empty() {
        pace.tick(|| sampler::running(host));
        if !freezer.step() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    freezer.drain();
    Ok((end, snapshot::take(host)))
}

/// Looks at every process of the box while one of them waits in exit or kill; returns the one that exits.
fn look_at_the_end(host: &Sandbox, recorder: &Recorder, ending: &Ending) -> Option<(Duration, Pid, ProcessState)> {
    let (at, process) = (recorder.now(), proc::process_of(ending.tid));
    let mut own = None;
    for pid in host.cgroups().processes().into_iter().filter(|pid| *pid != host.init()) {
        let Some(state) = proc::state(pid, host.cgroups()) else { continue };
        if ending.is_own && process == Some(pid) {
            own = Some((at, pid, state.clone()));
        }
        recorder.note_at(at, pid, state, EventKind::Seen);
    }
    own
}

/// The origin of the packet in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plug {
    /// Ours, from the beginning.
    Filler,
    /// One that a process of the box wrote.
    Written,
}

struct Freezer<'a> {
    host: &'a Sandbox,
    recorder: &'a Recorder,
    watch: &'a Watch,
    collected: &'a Collected,
    pipe: PluggedPipe,
    plug: Plug,
    /// The writers that were asleep when the box was last frozen: one of them wrote the packet that is the plug now.
    candidates: Vec<Candidate>,
    /// The arguments of each process when last seen.
    known: HashMap<Pid, Vec<String>>,
    holds: usize,
}

/// A thread asleep in a write to the pipe.
struct Candidate {
    process: Pid,
    state: ProcessState,
    at: Duration,
    /// What it waits to write; none when that is not in its memory.
    text: Option<Vec<u8>>,
}

impl Freezer<'_> {
    /// One look; true when something was written or is being written.
    fn step(&mut self) -> bool {
        self.pipe.keep_blocking();
        if self.holds >= MOST_HOLDS {
            // For as long as there is something, and no longer than until the end must be looked for again.
            return (0..1000).take_while(|_| self.take_packet()).count() > 0;
        }
        let writers = self.sleeping_writers();
        if writers.is_empty() || !self.pipe.is_full() {
            return false;
        }
        self.holds += 1;
        self.hold(&writers);
        true
    }

    /// Freezes the box, writes down what is there, lets one packet through and thaws it.
    fn hold(&mut self, writers: &[(Pid, Pid)]) {
        // A process in an uninterruptible sleep keeps the box from being all frozen; what is read is still true.
        let _ = self.host.cgroups().freeze(true);
        let at = self.recorder.now();
        let mut candidates = Vec::new();
        for pid in self.host.cgroups().processes() {
            if pid == self.host.init() {
                continue;
            }
            let Some(state) = proc::state(pid, self.host.cgroups()) else { continue };
            self.meet(pid, &state, at);
            for (_, thread) in writers.iter().filter(|(process, _)| *process == pid) {
                let state =
                    if *thread == pid { Some(state.clone()) } else { proc::state(*thread, self.host.cgroups()) };
                if let Some(state) = state {
                    candidates.push(Candidate { process: pid, state, at, text: self.text(*thread) });
                }
            }
            self.recorder.note_at(at, pid, state, EventKind::Seen);
        }
        self.take_packet();
        self.candidates = candidates;
        let _ = self.host.cgroups().freeze(false);
        // The next writer's packet is the next plug.
        self.pipe.wait_full(Duration::from_millis(500));
    }

    /// Takes the packet out of the slot and records its writer; false when the slot is empty.
    fn take_packet(&mut self) -> bool {
        let Some(packet) = self.pipe.take() else { return false };
        if std::mem::replace(&mut self.plug, Plug::Written) == Plug::Filler {
            return true;
        }
        if !self.collected.add(1, &packet) {
            self.watch.cut(self.host, Cut::Output);
        }
        let is_it = |candidate: &Candidate| {
            candidate.text.as_ref().is_some_and(|text| text.get(..packet.len()) == Some(packet.as_slice()))
        };
        let may_be = |candidate: &Candidate| candidate.text.is_none();
        let nth = self.candidates.iter().position(is_it).or_else(|| self.candidates.iter().position(may_be));
        let text = String::from_utf8_lossy(&packet).into_owned();
        let (process, state, at) = match nth.map(|nth| self.candidates.swap_remove(nth)) {
            Some(Candidate { process, state, at, .. }) => (process, state, at),
            // The text came out, and its writer was not seen.
            None => (UNKNOWN_WRITER, ProcessState::default(), self.recorder.now()),
        };
        self.recorder.note_at(at, process, state, EventKind::Wrote { stream: 1, text });
        true
    }

    /// Takes what is still in the pipe after the end.
    fn drain(&mut self) {
        while self.take_packet() {}
    }

    /// A process seen for the first time, or with other arguments than before, has executed something meanwhile.
    fn meet(&mut self, pid: Pid, state: &ProcessState, at: Duration) {
        let argv = proc::argv(pid);
        if argv.is_empty() || self.known.get(&pid) == Some(&argv) {
            return;
        }
        if is_container_prog(&argv) {
            sampler::sample(self.host, self.recorder, pid);
            self.recorder.find_container_root(self.host);
        }
        self.known.insert(pid, argv.clone());
        self.recorder.note_at(at, pid, state.clone(), EventKind::Exec { argv });
    }

    /// The threads that are asleep in a write to our pipe: process and thread.
    fn sleeping_writers(&self) -> Vec<(Pid, Pid)> {
        let mut found = Vec::new();
        for pid in self.host.cgroups().processes().into_iter().filter(|pid| *pid != self.host.init()) {
            let asleep = |thread: &Pid| {
                self.written_to(*thread).is_some() && proc::stat(*thread).is_some_and(|stat| stat.state == 'S')
            };
            found.extend(proc::threads(pid).into_iter().filter(asleep).map(|thread| (pid, thread)));
        }
        found
    }

    /// The write to our pipe that `thread` is in.
    fn written_to(&self, thread: Pid) -> Option<proc::BlockedCall> {
        let call = proc::blocked_call(thread)?;
        if call.nr == libc::SYS_io_submit {
            return Some(call);
        }
        let behind = proc::file_id(&format!("/proc/{thread}/fd/{}", calls::target(call.nr, &call.args)? as i32))?;
        (behind == self.pipe.id).then_some(call)
    }

    /// The text that `thread` waits to write.
    fn text(&self, thread: Pid) -> Option<Vec<u8>> {
        let call = self.written_to(thread)?;
        let [_, address, length, ..] = call.args;
        match call.nr {
            libc::SYS_write => Some(written(thread, address, length)),
            libc::SYS_writev | libc::SYS_pwritev2 | libc::SYS_vmsplice => Some(gathered(thread, address, length)),
            _ => None,
        }
    }
}
