//! Processes: children created in namespaces, held by pidfd, and reaped.
//!
//! A PID can be reused as soon as its process has been reaped, so a signal sent to a PID may hit another process. A
//! *pidfd* (pidfd_open(2)) refers to one process only; everything here uses it. [`spawn`] uses clone3(2), which creates
//! the namespaces, puts the child into its cgroup and opens the pidfd in one step.
//!
//! A child that fails before exec could only return an exit code of one byte. Each child therefore has a [`Report`], a
//! pipe to its parent: an [`Error`] goes through it as a value, [`Report::ready`] says that the set-up is done, and a
//! successful exec closes it.
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

/// Options of [`spawn`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SpawnOptions<'a> {
    /// Namespaces to create for the child; it shares the others with its parent.
    pub namespaces: &'a [Kind],
    /// The child's cgroup from the start; by default its parent's.
    pub cgroup: Membership<'a>,
}

/// How a child is placed in a cgroup: see `cgroup::Cgroup::clone_target` and `cgroup::Cgroup::procs_files`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Membership<'a> {
    /// The v2 directory to create it in.
    pub clone_target: Option<BorrowedFd<'a>>,
    /// The v1 `cgroup.procs` files to which it writes itself before it runs `inside`.
    pub procs_files: &'a [File],
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was terminated by this signal.
    Signal(Signal),
}

/// A one-shot event between two processes (an eventfd, created before the fork): closed until one opens it, then open.
#[derive(Debug)]
pub struct Gate(EventFd);

/// The child's pipe to its parent. It closes when the child execs.
#[derive(Debug)]
pub struct Report(File);

const READY: u8 = b'R';
const FAILED: u8 = b'E';
/// Exit code of a child that failed; the error goes through its [`Report`].
const SETUP_FAILED: i32 = 125;
/// What a shell adds to the signal number.
const SIGNALLED: i32 = 128;

/// Forks a child that runs `inside` and exits with the code it returns, or with an error that [`Child::ready`] or
/// [`Child::wait`] returns to the parent.
///
/// The child is killed when its parent dies. The caller must be single-threaded.
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
            why: "clone3 cannot create a process in a v1 cgroup, so this one joins it before it does anything else";
            shell: "echo $$ > cgroup.procs");
        file.write_all(b"0").or_cannot("join", "the cgroup")?;
    }
    Ok(())
}

impl Gate {
    /// Creates a closed gate.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn shut() -> Result<Self> {
        EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map(Self).or_cannot("make", "an event descriptor")
    }

    /// Opens it: waiting processes continue.
    pub fn open(&self) -> Result<()> {
        self.0.write(1).or_cannot("open", "the gate").map(drop)
    }

    /// Waits until it is open.
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn wait(&self) -> Result<()> {
        // poll does not reset the counter, so the gate stays open for other waiters.
        let mut ends = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        retry(|| poll(&mut ends, PollTimeout::NONE)).or_cannot("wait at", "the gate").map(drop)
    }
}

impl Report {
    /// The body of a child created by [`clone3`]: runs `work`, sends an error to the parent, and returns the exit code.
    ///
    /// The child is killed when its parent dies.
    pub fn run(mut self, work: impl FnOnce(&mut Self) -> Result<i32>) -> i32 {
        match self.die_with_parent().and_then(|()| work(&mut self)) {
            Ok(code) => code,
            Err(error) => {
                // If the parent is gone, there is no reader.
                let _ = self.send(FAILED, &error.to_bytes());
                SETUP_FAILED
            }
        }
    }

    /// Tells the parent, waiting in [`Child::ready`], that the set-up is done.
    ///
    /// # Errors
    /// `EPIPE` when the parent has gone.
    pub fn ready(&mut self) -> Result<()> {
        self.send(READY, &[])
    }

    /// Keeps this process running when its parent dies; otherwise it is killed.
    pub fn outlive_parent(&self) -> Result<()> {
        prctl::set_pdeathsig(None).or_cannot("live on after", "the parent's end")
    }

    fn send(&mut self, kind: u8, text: &[u8]) -> Result<()> {
        let mut message = vec![kind];
        message.extend((text.len() as u32).to_le_bytes());
        message.extend(text);
        self.0.write_all(&message).or_cannot("report to", "the parent process")
    }

    /// Asks the kernel to kill this process when its parent dies, even by SIGKILL.
    fn die_with_parent(&self) -> Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL).or_cannot("ask for a signal at", "the parent's end")?;
        // The parent may have died before that: then the pipe has no reader, which poll reports as POLLERR.
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
    /// Wraps a child that `create` makes with [`clone3`]; in the child, [`Report::run`] must do all the work.
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

    /// Its PID in the parent's PID namespace.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> &PidFd {
        &self.process
    }

    /// Waits until the child reports ready, execs or exits.
    ///
    /// # Errors
    /// The child's own error, if it failed on the way.
    pub fn ready(&mut self) -> Result<()> {
        // `wait` returns the reason if it has exited.
        self.is_ready().map(drop)
    }

    /// Waits until the child reports ready; false if it execs or exits instead.
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

    /// Waits until the child has called exec or exited: it then holds none of our resources.
    ///
    /// # Errors
    /// The child's error, if it failed, even after reporting ready.
    pub fn wait_for_exec(&mut self) -> Result<()> {
        loop {
            match self.next_report()? {
                Reported::Ready => (),
                Reported::Failed(error) => return Err(error),
                Reported::Closed => return Ok(()),
            }
        }
    }

    /// Drops this value but lets the child run, without reaping it.
    ///
    /// It still dies with its parent, unless it called [`Report::outlive_parent`].
    pub fn release(mut self) {
        self.released = true;
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `ESRCH` when it has been reaped.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until it exits and reaps it.
    ///
    /// # Errors
    /// The child's error, if it failed instead of exiting with a code.
    pub fn wait(mut self) -> Result<Exit> {
        let exit = self.reap()?;
        // All its reports are in the pipe; a grandchild may keep it open, so do not block.
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
            // Both fail only if it has already been reaped.
            let _ = self.process.signal(Signal::SIGKILL);
            let _ = self.reap();
        }
    }
}

impl PidFd {
    /// Opens a pidfd of process `pid`; for when the PID can be trusted, see [`syscall::pidfd_open`].
    ///
    /// # Errors
    /// `ESRCH` when the process does not exist; `EINVAL` for a thread that is not the main thread.
    pub fn open(pid: Pid) -> Result<Self> {
        syscall::pidfd_open(pid)
            .map_err(|error| error.with_attempt("open a descriptor of", format_args!("process {pid}")))
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    /// `ESRCH` when it has been reaped; `EPERM` when it belongs to another user.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(SignalNumber::of(signal))
    }

    /// Sends the process a signal by number, for example a real-time signal.
    ///
    /// # Errors
    /// Those of [`PidFd::signal`].
    pub fn send(&self, signal: SignalNumber) -> Result<()> {
        syscall::pidfd_send_signal(self, signal).map_err(|error| {
            error.with_attempt(format_args!("send {signal} to"), format_args!("process {}", self.pid()))
        })
    }

    /// Its exit status, once it has been reaped: the kernel keeps it for holders of a pidfd (Linux 6.15). None before
    /// that, or on older kernels.
    pub fn exit(&self) -> Option<Exit> {
        let status = sys::exit_status_of(self.as_fd()).ok()?;
        let signal = status & 0x7f;
        if signal == 0 {
            return Some(Exit::Code((status >> 8) & 0xff));
        }
        Signal::try_from(signal).ok().map(Exit::Signal)
    }

    /// Whether the process has exited (it may still be a zombie).
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn has_ended(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Waits at most `time` until the process exits; returns whether it has.
    ///
    /// # Errors
    /// `ENOMEM` by poll(2).
    pub fn ends_within(&self, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        // A pidfd becomes readable when its process ends.
        let mut ends = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let ended = retry(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            // poll(2) is limited to 24 days.
            poll(&mut ends, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
        });
        ended.or_cannot("wait for", format_args!("process {}", self.pid())).map(|count| count > 0)
    }
}

impl Exit {
    /// The exit code as in a shell: 128 + n for signal n.
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
            // Real-time signals have no name in nix: use the shell's code.
            (None, Some(number)) => Signal::try_from(number).map_or(Self::Code(SIGNALLED + number), Self::Signal),
            // Not reached: EXITED reports only these two.
            (None, None) => Self::Code(SETUP_FAILED),
        }
    }
}

/// The signals that ask a program to terminate. See signal(7).
const TERMINATION_SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Termination signals, blocked and read from a signalfd, so that the program can clean up first.
#[derive(Debug)]
pub struct TerminationSignals(SignalFd);

impl TerminationSignals {
    /// Blocks SIGINT, SIGTERM, SIGHUP and SIGQUIT; they are read by [`TerminationSignals::wait_for_signal_or_end`].
    ///
    /// Children inherit the mask; [`exec`] resets it.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn block() -> Result<Self> {
        Self::block_also(&[])
    }

    /// The same with further signals. Signals that this program was started to ignore stay ignored: a hang-up must not
    /// end what nohup(1) started.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn block_also(others: &[Signal]) -> Result<Self> {
        let asked = TERMINATION_SIGNALS.iter().chain(others).copied();
        let mask: SigSet = asked.filter(|signal| !sys::is_ignored(*signal).unwrap_or(false)).collect();
        mask.thread_block().or_cannot("hold back", "signals")?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map(Self).or_cannot("open", "a descriptor for signals")
    }

    /// Waits until the process exits (`None`) or a signal arrives.
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

    /// Reads the next signal, waiting for one; poll the descriptor first to wait for other things too.
    pub fn take(&mut self) -> Result<Option<Signal>> {
        let info = self.0.read_signal().or_cannot("read", "the signal that came")?;
        Ok(info.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok()))
    }
}

impl TerminationSignals {
    /// Raises a signal again after it was read: it takes effect after [`unblock`].
    pub fn raise_again(&self, signal: Signal) -> Result<()> {
        // To this thread, which has it blocked.
        nix::sys::signal::raise(signal).or_cannot("put back", signal)
    }
}

/// Unblocks the signals of [`TerminationSignals::block`]: a pending one takes effect, which usually ends the program.
pub fn unblock() -> Result<()> {
    TERMINATION_SIGNALS.iter().copied().collect::<SigSet>().thread_unblock().or_cannot("let go of", "signals")
}

impl AsFd for TerminationSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Executes a program. Descriptors other than 0, 1, 2 are closed, and signal dispositions and mask are reset.
///
/// `program` is a path, not a name to search for. See execve(2).
///
/// # Errors
/// Returns only on error: `ENOENT` when the program, *its interpreter or its loader* does not exist; `EACCES` when it
/// may not be executed; `ENOEXEC` when it is not for this machine.
pub fn exec(program: &Path, arguments: &[&str], environment: &[&str]) -> Result<Infallible> {
    prepare_for_exec()?;
    syscall::execve(program, arguments, environment).map_err(|error| error.with_attempt("execute", program.display()))
}

/// Prepares for exec: marks descriptors other than 0, 1, 2 close-on-exec, and resets blocked and ignored signals.
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub fn prepare_for_exec() -> Result<()> {
    sys::close_on_exec_from(3).or_cannot("close", "descriptors before exec")?;
    reset_signals()
}

/// Resets signal state that exec would pass on: a Rust program ignores SIGPIPE, its caller may ignore others (as
/// nohup(1) does), and [`TerminationSignals`] blocks some.
fn reset_signals() -> Result<()> {
    for signal in Signal::iterator().filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal)) {
        sys::default_action(signal).or_cannot("reset", signal)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).or_cannot("unblock", "signals")
}

/// Makes the caller a subreaper: orphaned descendants become its children, so that [`kill_descendants`] finds them all.
pub fn become_subreaper() -> Result<()> {
    prctl::set_child_subreaper(true).or_cannot("become the reaper of", "orphaned descendants")
}

/// Kills and reaps every child and, thanks to [`become_subreaper`], every further descendant; returns their number.
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
        // They are our children and not yet reaped, so their PIDs cannot have been reused.
        for child in children {
            let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
            retry(|| waitpid(child, None)).or_cannot("wait for", format_args!("process {child}"))?;
            ended += 1;
        }
    }
}

/// Frees the clean file-backed pages of the caller, mainly its own program (about 1 MiB for each detached container's
/// monitor). For a process that only waits from now on; the kernel reads pages again when they are needed.
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

/// Resets SIGCHLD, so that children can be waited for: a caller that ignores SIGCHLD passes that on, and then wait
/// fails with `ECHILD`. See wait(2), and signal(7) on exec.
pub fn reset_sigchld() -> Result<()> {
    sys::default_action(Signal::SIGCHLD).or_cannot("reset", Signal::SIGCHLD)
}

/// Closes the inherited descriptors above 2: the starter may be waiting for them, for example for a lock or the end of
/// a pipe. Those are the ones without close-on-exec; Rust's own always have it.
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
        // The directory's own descriptor is already closed.
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
