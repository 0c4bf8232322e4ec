//! Processes: children born into namespaces, held by a descriptor, waited for to the end.
//!
//! A process number can be used again as soon as its owner has been waited for, so a signal sent to a number may hit a
//! stranger. A *pidfd* (pidfd_open(2)) is a descriptor of one process and of no later one; everything here goes
//! through it. [`spawn`] forks with clone3(2), which makes the namespaces, puts the child into its cgroup and opens
//! the pidfd in one step, so that there is no moment at which the child is only half contained.
//!
//! A child that fails before it has become another program has no way to tell: its exit code is one byte. Each child
//! therefore has a [`Report`], a pipe back to its parent: an [`Error`] goes through it as a value, a
//! [`Report::ready`] says that the set-up is done, and a successful exec closes it.
//!
//! Look: `strace -f -e clone3,pidfd_open,waitid PROGRAM`. Manual: clone(2), pidfd_open(2), waitid(2), pidfd_send_signal(2).

use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use procfs::process::{MMapPath, MemoryMap};
use rustix::process::{WaitIdOptions, WaitIdStatus};

use crate::error::{Error, OrCannot, Result};
use crate::namespace::{Kind, Named};
use crate::syscall::{self, CloneArgs, clone3, flags};
use crate::{step, sys};

pub use crate::syscall::{PidFd, SignalNumber};

/// A child process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    process: PidFd,
    report: File,
    exit: Option<Exit>,
    released: bool,
}

/// How a child is to be born.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpawnOptions<'a> {
    /// Namespaces made for it; the others it shares with its parent.
    pub namespaces: &'a [Kind],
    /// The cgroup that it is in before it runs `inside`; by default its parent's.
    pub cgroup: Membership<'a>,
}

/// How a child gets into a cgroup: see `cgroup::Cgroup::clone_target` and `cgroup::Cgroup::procs_files`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Membership<'a> {
    /// The v2 directory that it is created in.
    pub clone_target: Option<BorrowedFd<'a>>,
    /// The `cgroup.procs` that it joins before it runs `inside`, because no process can be created there.
    pub procs_files: &'a [File],
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(Signal),
}

/// A gate between two processes: shut until somebody opens it, then open for ever. Made before the fork, shared by it.
#[derive(Debug)]
pub struct Gate(EventFd);

/// The child's line to its parent. It closes by itself when the child execs.
#[derive(Debug)]
pub struct Report(File);

const READY: u8 = b'R';
const FAILED: u8 = b'E';
/// Exit code of a child that could not do its part; the reason goes through its [`Report`].
const SETUP_FAILED: i32 = 125;
/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// Forks a child that runs `inside` and ends with the code it returns, or with an error that [`Child::ready`] or
/// [`Child::wait`] hands to the parent.
///
/// The child is killed when its parent ends, however that happens. The caller must have one thread only.
///
/// # Errors
/// Those of clone(2), among them `EPERM` without the right to make the namespaces.
pub fn spawn(options: SpawnOptions<'_>, inside: impl FnOnce(&mut Report) -> Result<i32>) -> Result<Child> {
    reset_sigchld()?;
    let Membership { clone_target, procs_files } = options.cgroup;
    let args = CloneArgs { flags: flags(options.namespaces), cgroup: clone_target };
    Child::created(|report| {
        let created = clone3(&args, || {
            report.run(|report| {
                join_cgroup(procs_files)?;
                inside(report)
            })
        });
        created.map_err(|error| error.with_attempt("start", described(options.namespaces)))
    })
}

fn described(namespaces: &[Kind]) -> String {
    if namespaces.is_empty() { "a child".to_owned() } else { format!("a child in new {}", Named(namespaces)) }
}

/// Moves the caller into a cgroup by the `cgroup.procs` of its directories.
///
/// # Errors
/// `ENODEV` when the cgroup has been removed meanwhile.
pub fn join_cgroup(procs_files: &[File]) -> Result<()> {
    for mut file in procs_files {
        step!("cgroup.join", call: "write(cgroup.procs, \"0\")";
            why: "no process can be created in a v1 cgroup: this one goes in itself, before it does anything else";
            shell: "echo $$ > cgroup.procs");
        file.write_all(b"0").or_cannot("join", "the cgroup")?;
    }
    Ok(())
}

impl Gate {
    /// A gate that is shut.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn shut() -> Result<Self> {
        EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map(Self).or_cannot("make", "an event descriptor")
    }

    /// Opens it: whoever waits goes on.
    ///
    /// # Errors
    /// None that a valid descriptor can cause.
    pub fn open(&self) -> Result<()> {
        self.0.write(1).or_cannot("open", "the gate").map(drop)
    }

    /// Waits until it is open.
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn wait(&self) -> Result<()> {
        // poll leaves the count as it is, so the gate stays open for the next one.
        let mut ends = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        retry(|| poll(&mut ends, PollTimeout::NONE)).or_cannot("wait at", "the gate").map(drop)
    }
}

impl Report {
    /// All that a child does, from [`clone3`] to its end: runs `work`, hands an error to the parent, and returns the exit code.
    ///
    /// The child is killed when its parent ends, however that happens.
    pub fn run(mut self, work: impl FnOnce(&mut Self) -> Result<i32>) -> i32 {
        match self.die_with_parent().and_then(|()| work(&mut self)) {
            Ok(code) => code,
            Err(error) => {
                // When the parent is gone nobody wants to know any more.
                let _ = self.send(FAILED, &error.to_bytes());
                SETUP_FAILED
            }
        }
    }

    /// Tells the parent, which waits in [`Child::ready`], that the set-up is done.
    ///
    /// # Errors
    /// `EPIPE` when the parent has gone.
    pub fn ready(&mut self) -> Result<()> {
        self.send(READY, &[])
    }

    /// Lets this process live on when its parent ends; without that it is killed then.
    ///
    /// # Errors
    /// None that the kernel could have.
    pub fn outlive_parent(&self) -> Result<()> {
        prctl::set_pdeathsig(None).or_cannot("live on after", "the parent's end")
    }

    fn send(&mut self, kind: u8, text: &[u8]) -> Result<()> {
        let mut message = vec![kind];
        message.extend((text.len() as u32).to_le_bytes());
        message.extend(text);
        self.0.write_all(&message).or_cannot("report to", "the parent process")
    }

    /// Asks the kernel to kill this process when its parent ends, also when the parent is killed itself.
    fn die_with_parent(&self) -> Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL).or_cannot("ask for a signal at", "the parent's end")?;
        // It may have ended before we asked. Then nobody holds the other end of the pipe: poll says so at once.
        let mut ends = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        poll(&mut ends, PollTimeout::ZERO).or_cannot("look for", "the parent process")?;
        match ends[0].revents() {
            Some(events) if events.contains(PollFlags::POLLERR) => {
                Err(Error::new("find", "the parent process", Errno::ESRCH))
            }
            _ => Ok(()),
        }
    }
}

impl Child {
    /// The child that `create` makes by [`clone3`]; in the child, [`Report::run`] is to do all the work.
    ///
    /// # Errors
    /// Those of `create`; `EMFILE` when no descriptor is free.
    pub fn created(create: impl FnOnce(Report) -> Result<PidFd>) -> Result<Self> {
        reset_sigchld()?;
        let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(read, write)| (File::from(read), File::from(write)))
            .or_cannot("make", "a pipe for the child's report")?;
        let process = create(Report(reporter))?;
        Ok(Self { process, report, exit: None, released: false })
    }

    /// Its number, as its parent sees it.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Its descriptor.
    pub fn pidfd(&self) -> &PidFd {
        &self.process
    }

    /// Waits until the child says that it is ready, or has become another program.
    ///
    /// # Errors
    /// The child's own error, if it failed on the way.
    pub fn ready(&mut self) -> Result<()> {
        // If it is not, `wait` tells why.
        self.is_ready().map(drop)
    }

    /// Waits until the child says that it is ready: false when it has become another program or ended instead.
    ///
    /// # Errors
    /// The child's own error, if it failed on the way.
    pub fn is_ready(&mut self) -> Result<bool> {
        match self.next_report()? {
            Reported::Ready => Ok(true),
            Reported::Failed(error) => Err(error),
            Reported::Closed => Ok(false),
        }
    }

    /// Waits until the child has become another program, or has ended: what it was and held as our child is gone then.
    ///
    /// # Errors
    /// The child's own error, if it failed on the way, also after it said that it was ready.
    pub fn wait_for_exec(&mut self) -> Result<()> {
        loop {
            match self.next_report()? {
                Reported::Ready => (),
                Reported::Failed(error) => return Err(error),
                Reported::Closed => return Ok(()),
            }
        }
    }

    /// Lets it live on, unwaited for, when this value goes.
    ///
    /// It still dies with its parent, unless it asked to [outlive](Report::outlive_parent) it.
    pub fn release(mut self) {
        self.released = true;
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `ESRCH` when it has been waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits for its end and takes its exit status, so that no zombie stays.
    ///
    /// # Errors
    /// The child's own error, when it failed at its part instead of ending with a code.
    pub fn wait(mut self) -> Result<Exit> {
        let exit = self.reap()?;
        // Everything it had to say is in the pipe by now; a grandchild may hold it open, so do not wait for more.
        rustix::io::ioctl_fionbio(&self.report, true).or_cannot("read", "the child's report")?;
        loop {
            match self.next_report() {
                Ok(Reported::Ready) => (),
                Ok(Reported::Failed(error)) => return Err(error),
                Ok(Reported::Closed) => return Ok(exit),
                Err(error) if error.errno() == Some(Errno::EAGAIN) => return Ok(exit),
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self) -> Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let status = loop {
            match syscall::waitid(&self.process, WaitIdOptions::EXITED) {
                Err(error) if error.errno() == Some(Errno::EINTR) => (),
                outcome => {
                    break outcome
                        .map_err(|error| error.with_attempt("wait for", format_args!("process {}", self.pid())))?;
                }
            }
        };
        let exit = Exit::from_status(status);
        self.exit = Some(exit);
        Ok(exit)
    }

    fn next_report(&mut self) -> Result<Reported> {
        let mut kind = [0];
        match self.report.read_exact(&mut kind) {
            Ok(()) => (),
            Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(Reported::Closed),
            Err(error) => return Err(error).or_cannot("read", "the child's report"),
        }
        let mut length = [0; 4];
        self.report.read_exact(&mut length).or_cannot("read", "the child's report")?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        self.report.read_exact(&mut text).or_cannot("read", "the child's report")?;
        Ok(if kind[0] == FAILED { Reported::Failed(Error::from_bytes(&text)) } else { Reported::Ready })
    }
}

enum Reported {
    Ready,
    Failed(Error),
    Closed,
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() && !self.released {
            // Both fail only when there is nothing left to end.
            let _ = self.process.signal(Signal::SIGKILL);
            let _ = self.reap();
        }
    }
}

impl PidFd {
    /// Opens a descriptor of process `pid`; to be sure that it is the process you mean, see [`syscall::pidfd_open`].
    ///
    /// # Errors
    /// `ESRCH` when there is no such process; `EINVAL` for a thread that is not a process's first.
    pub fn open(pid: Pid) -> Result<Self> {
        syscall::pidfd_open(pid)
            .map_err(|error| error.with_attempt("open a descriptor of", format_args!("process {pid}")))
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    /// `ESRCH` when it has been waited for; `EPERM` when it is another user's.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(SignalNumber::of(signal))
    }

    /// Sends the process a signal that may have no name of its own.
    ///
    /// # Errors
    /// Those of [`PidFd::signal`].
    pub fn send(&self, signal: SignalNumber) -> Result<()> {
        syscall::pidfd_send_signal(self, signal).map_err(|error| {
            error.with_attempt(format_args!("send {signal} to"), format_args!("process {}", self.pid()))
        })
    }

    /// What it has ended with, when it has and its parent has taken note: the kernel tells anybody who holds a descriptor
    /// from before. None before Linux 6.15, or as long as its parent has not.
    pub fn exit(&self) -> Option<Exit> {
        let status = sys::exit_status_of(self.as_fd()).ok()?;
        let signal = status & 0x7f;
        if signal == 0 {
            return Some(Exit::Code((status >> 8) & 0xff));
        }
        Signal::try_from(signal).ok().map(Exit::Signal)
    }

    /// Whether the process has ended (it may still wait to be reaped).
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn has_ended(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Waits until the process has ended, for such a time at most; whether it has.
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn ends_within(&self, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        // A pidfd becomes readable when its process ends.
        let mut ends = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let ended = retry(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            // The longest that poll(2) knows is 24 days.
            poll(&mut ends, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
        });
        ended.or_cannot("wait for", format_args!("process {}", self.pid())).map(|count| count > 0)
    }
}

impl Exit {
    /// The code a shell would show: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => SIGNALLED + signal as i32,
        }
    }

    fn from_status(status: Option<WaitIdStatus>) -> Self {
        let (code, signal) = status.map_or((None, None), |status| (status.exit_status(), status.terminating_signal()));
        match (code, signal) {
            (Some(code), _) => Self::Code(code),
            // Real-time signals have numbers only: what a shell would show has to do.
            (None, Some(number)) => Signal::try_from(number).map_or(Self::Code(SIGNALLED + number), Self::Signal),
            // EXITED lets no other kind through.
            (None, None) => Self::Code(SETUP_FAILED),
        }
    }
}

/// The signals by which users and systems ask a program to end. See signal(7).
const TERMINATION_SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Signals that ask a program to end: kept from ending it at once, so that it can give back what it borrowed.
#[derive(Debug)]
pub struct TerminationSignals(SignalFd);

impl TerminationSignals {
    /// From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT wait to be asked for with [`TerminationSignals::wait_for_signal_or_end`].
    ///
    /// Children inherit that; [`exec`] undoes it.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn block() -> Result<Self> {
        Self::block_also(&[])
    }

    /// The same for these signals as well. One that this program was started to ignore goes on to mean nothing: a
    /// hang-up does not end what nohup(1) started.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn block_also(others: &[Signal]) -> Result<Self> {
        let asked = TERMINATION_SIGNALS.iter().chain(others).copied();
        let mask: SigSet = asked.filter(|signal| !sys::is_ignored(*signal).unwrap_or(false)).collect();
        mask.thread_block().or_cannot("hold back", "signals")?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map(Self).or_cannot("open", "a descriptor for signals")
    }

    /// Waits until the process ends (`None`) or the user asks for the end by a signal.
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn wait_for_signal_or_end(&mut self, process: &PidFd) -> Result<Option<Signal>> {
        loop {
            let mut ends =
                [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            retry(|| poll(&mut ends, PollTimeout::NONE))
                .or_cannot("wait for", format_args!("process {}", process.pid()))?;
            let asked = ends[0].any().unwrap_or(false);
            if !asked {
                return Ok(None);
            }
            if let Some(signal) = self.take()? {
                return Ok(Some(signal));
            }
        }
    }

    /// Takes the signal that has come, waiting for one; to wait for other things as well, poll the descriptor first.
    ///
    /// # Errors
    /// None that a valid descriptor can cause.
    pub fn take(&mut self) -> Result<Option<Signal>> {
        let info = self.0.read_signal().or_cannot("read", "the signal that came")?;
        Ok(info.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok()))
    }
}

impl TerminationSignals {
    /// Puts a signal back as if it had not been taken: it acts as soon as it may ([`unblock`]).
    ///
    /// # Errors
    /// None that a signal which has come can cause.
    pub fn raise_again(&self, signal: Signal) -> Result<()> {
        // To the thread whose mask holds it back, and no other.
        nix::sys::signal::raise(signal).or_cannot("put back", signal)
    }
}

/// Undoes [`TerminationSignals::block`]: a signal that has come and was not taken acts now, which usually ends the program.
///
/// # Errors
/// None that the kernel could have.
pub fn unblock() -> Result<()> {
    TERMINATION_SIGNALS.iter().copied().collect::<SigSet>().thread_unblock().or_cannot("let go of", "signals")
}

impl AsFd for TerminationSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes another program. Descriptors other than 0, 1, 2 are closed, signals are as a program expects to find them.
///
/// `program` is a path, not a name to search for. See execve(2).
///
/// # Errors
/// Only errors return: `ENOENT` when the program is not there, *or its interpreter or loader is not*; `EACCES` when it
/// may not be executed; `ENOEXEC` when it is not for this machine.
pub fn exec(program: &Path, arguments: &[&str], environment: &[&str]) -> Result<Infallible> {
    prepare_for_exec()?;
    syscall::execve(program, arguments, environment).map_err(|error| error.with_attempt("execute", program.display()))
}

/// Keeps from the next program what it should not find: descriptors other than 0, 1, 2, and signals that this one blocks or
/// ignores.
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub fn prepare_for_exec() -> Result<()> {
    sys::close_on_exec_from(3).or_cannot("close", "descriptors before exec")?;
    reset_signals()
}

/// Undoes what exec would otherwise hand on: a Rust program ignores SIGPIPE, its caller may ignore others (nohup(1)
/// does), and [`TerminationSignals`] blocks signals.
fn reset_signals() -> Result<()> {
    for signal in Signal::iterator().filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal)) {
        sys::default_action(signal).or_cannot("reset", signal)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).or_cannot("unblock", "signals")
}

/// Makes the caller the one to which orphaned descendants fall, so that [`kill_descendants`] can find them all.
///
/// # Errors
/// None on Linux 3.4 and later. See PR_SET_CHILD_SUBREAPER in prctl(2).
pub fn become_subreaper() -> Result<()> {
    prctl::set_child_subreaper(true).or_cannot("become the reaper of", "orphaned descendants")
}

/// Kills and reaps every child and, because of [`become_subreaper`], every further descendant; returns how many there were.
///
/// # Errors
/// When /proc cannot be read.
pub fn kill_descendants() -> Result<usize> {
    let me = std::process::id() as i32;
    let mut ended = 0;
    loop {
        let all = procfs::process::all_processes().map_err(|error| error.to_string()).or_cannot("list", "processes")?;
        let children = all.flatten().filter_map(|process| process.stat().ok()).filter(|stat| stat.ppid == me);
        let children: Vec<Pid> = children.map(|stat| Pid::from_raw(stat.pid)).collect();
        if children.is_empty() {
            return Ok(ended);
        }
        // We are their parent and have not waited for them: the numbers cannot have passed to anybody else.
        for child in children {
            let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
            retry(|| waitpid(child, None)).or_cannot("wait for", format_args!("process {child}"))?;
            ended += 1;
        }
    }
}

/// Gives back the memory in which parts of files are kept that the caller maps and has not changed: its own program, above
/// all. For a process that from here on only waits. What it needs after all, the kernel reads again.
///
/// # Errors
/// When /proc cannot be read.
pub fn release_clean_pages() -> Result<()> {
    let own = procfs::process::Process::myself().and_then(|process| process.smaps());
    let mappings = own.map_err(|error| error.to_string()).or_cannot("list", "the mappings of this process")?;
    let is_clean = |mapping: &&MemoryMap| {
        matches!(mapping.pathname, MMapPath::Path(_)) && mapping.extension.map.get("Anonymous") == Some(&0)
    };
    for mapping in mappings.iter().filter(is_clean) {
        let (start, end) = mapping.address;
        sys::dont_need(start as usize..end as usize).or_cannot("give back", "memory")?;
    }
    Ok(())
}

/// Has the kernel keep how each child ends until it is waited for. A caller that ignores SIGCHLD hands that on, and then there is
/// nothing to wait for (`ECHILD`). See wait(2), and signal(7) on what exec leaves as it is.
///
/// # Errors
/// None that the kernel could have.
pub fn reset_sigchld() -> Result<()> {
    sys::default_action(Signal::SIGCHLD).or_cannot("reset", Signal::SIGCHLD)
}

/// Closes the descriptors above 2 that the process was started with, which whoever started it may wait for: a lock, the end of
/// a pipe. They are those that would outlive the next exec as well; what is opened by Rust never does.
///
/// # Errors
/// When /proc cannot be read.
pub fn close_inherited_descriptors() -> Result<()> {
    const OPEN: &str = "/proc/self/fd";
    let open: Vec<RawFd> = std::fs::read_dir(OPEN)
        .or_cannot("list", OPEN)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open {
        // The one by which they were listed is closed by now.
        if descriptor > 2 && sys::outlives_exec(descriptor).unwrap_or(false) {
            nix::unistd::close(descriptor).or_cannot("close", format_args!("descriptor {descriptor}"))?;
        }
    }
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => (),
            outcome => return outcome,
        }
    }
}
