//! Process 1 of the box: it sets the box up, starts what the grader asks for, and reaps orphans.
//!
//! A PID namespace lives as long as its first process, and orphans become that process's children: without an init that
//! waits for them they would stay as zombies. This one is forked from the grader, holds no descriptor but its end of the
//! [`Channel`], and dies with the grader. The submission cannot read it: the kernel
//! requires `CAP_SYS_PTRACE` for that, and programs of the box lack it.
//! Look: `cat /proc/1/comm` in the box. Manual: pid_namespaces(7), capabilities(7), PR_SET_PDEATHSIG in prctl(2).

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::root::{self, RootPlan};
use super::walls::{self, Wall};
use super::{core_dumps, filter, guard, namespace_ids};
use crate::error::{Error, OrCannot, Result};
use crate::sys;

/// What the grader asks init for.
#[derive(Debug, Serialize, Deserialize)]
pub enum InitRequest {
    /// Set the box up: init is in its cgroups now.
    SetUp,
    /// Open a pseudo terminal of the box: its two ends are sent back.
    OpenTerminal,
    /// Start a program. Descriptors: its stdout, its stderr, its end of the gate.
    Start(Start),
}

/// What init tells the grader.
#[derive(Debug, Serialize, Deserialize)]
pub enum InitReply {
    /// The box is set up. Descriptor: the listener of the guard's filter.
    Ready,
    /// Something failed; the sentence says what.
    Failed(String),
    /// A terminal: master and slave come with it.
    Terminal,
    /// A program that was started has ended, with this raw wait status.
    Ended {
        /// Its process id in the box.
        pid: i32,
        /// As wait(2) gives it.
        status: i32,
    },
}

/// What a started program tells through its gate, before it is a program.
#[derive(Debug, Serialize, Deserialize)]
pub enum Gate {
    /// From the child: it waits. The message's sender is its process id as the grader numbers it.
    Waiting,
    /// From the grader: go on.
    Go,
    /// From the child: it could not.
    Failed(String),
}

/// A program to be started in the box.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Program and arguments; the program is looked for in `PATH` of `env`.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Calls that a tracer wants to see; empty when there is no tracer.
    pub traced_calls: Vec<i64>,
    /// Its stdout is a terminal, which becomes its stdin and its controlling terminal as well; else stdin is /dev/null.
    #[serde(default)]
    pub terminal: bool,
}

/// What init needs to know from the start.
#[derive(Debug)]
pub struct InitPlan {
    /// The file tree.
    pub root: RootPlan,
    /// The process id after which the box goes on counting.
    pub last_pid: i32,
    /// Whether the ends of processes ask the guard.
    pub tells_of_ends: bool,
}

/// Rights over the whole machine that no lab needs: a root shell in the box keeps all others.
const WITHHELD: [CapabilitySet; 17] = [
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::SYSLOG,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::WAKE_ALARM,
    CapabilitySet::BLOCK_SUSPEND,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_NICE,
    // With it, limits that a machine sets its root do not hold, those of real-time scheduling and core dumps among them.
    CapabilitySet::SYS_RESOURCE,
];

/// Runs as process 1 until the grader closes the channel. Call it in a fresh fork.
pub fn live(plan: &InitPlan, channel: &Channel) -> i32 {
    match serve(plan, channel) {
        Ok(()) => 0,
        Err(why) => {
            let _ = channel.send(&InitReply::Failed(why.reason()), &[]);
            1
        }
    }
}

fn serve(plan: &InitPlan, channel: &Channel) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .or_cannot("tie", "init's life to the grader's")?;
    keep_only(channel.as_fd())?;
    // The box does not inherit the grader's nice value.
    let _ = rustix::process::setpriority_process(None, 0);
    // Not even a core dump or /proc/1/mem; and a name that does not give the grader away.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).or_cannot("make", "init undumpable")?;
    let _ = rustix::thread::set_name(c"init");
    // CAP_SYS_ADMIN is enough to read another's environment (mm_access in the kernel): the grader's may hold secrets.
    sys::forget_arguments(b"/sbin/init\0").or_cannot("forget", "the grader's arguments")?;
    nix::unistd::setsid().or_cannot("leave", "the grader's session")?;
    let children = watch_children()?;
    // Programs that the grader asked for. All other children are orphans: reaped, and not reported.
    let mut started = Vec::new();
    while let Some(ask) = next(channel, &children, &mut started)? {
        match ask.message {
            InitRequest::SetUp => {
                set_up(plan)?;
                // Before the guard's filter, which keeps this limit as it is.
                core_dumps::switch_off()?;
                let mut rules = if walls::stands(Wall::Guard) { guard::rules() } else { Vec::new() };
                rules.extend(guard::ends::rules().filter(|_| plan.tells_of_ends));
                // Last: from here on each call that the filter names waits for the guard, which has no listener yet.
                let listener =
                    sys::load_asking_filter(&filter::for_guard(&rules)).or_cannot("load", "the guard's filter")?;
                tell(channel, &InitReply::Ready, &[listener.as_fd()])?;
            }
            InitRequest::OpenTerminal => {
                let (master, slave) = open_terminal()?;
                tell(channel, &InitReply::Terminal, &[master.as_fd(), slave.as_fd()])?;
            }
            InitRequest::Start(start) => started.push(start_program(&start, ask.fds)?),
        }
    }
    Ok(())
}

/// Waits for the grader's next request and reaps children meanwhile; reports the end of those that init started.
fn next(
    channel: &Channel,
    children: &SignalFd,
    started: &mut Vec<Pid>,
) -> Result<Option<super::channel::Received<InitRequest>>> {
    loop {
        let mut fds =
            [PollFd::new(channel.as_fd(), PollFlags::POLLIN), PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.or_cannot("wait for", "the grader")?,
        };
        let [asked, died] = fds.map(|fd| fd.any().unwrap_or(false));
        if died {
            let _ = children.read_signal();
            reap(channel, started)?;
        }
        if asked {
            return channel.receive().or_cannot("understand", "the grader");
        }
    }
}

fn reap(channel: &Channel, started: &mut Vec<Pid>) -> Result<()> {
    loop {
        let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal as i32),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(()),
            // A real-time signal ended it: nix has no name for that one.
            Ok(_) | Err(_) => continue,
        };
        if let Some(nth) = started.iter().position(|known| *known == pid) {
            started.swap_remove(nth);
            tell(channel, &InitReply::Ended { pid: pid.as_raw(), status }, &[])?;
        }
    }
}

/// Turns this process and the namespaces it makes into a host.
fn set_up(plan: &InitPlan) -> Result<()> {
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    namespace_ids::lowest(|| unshare(spaces).or_cannot("make", "the box's namespaces"))?;
    nix::unistd::sethostname(&plan.root.hostname).or_cannot("name", "the box")?;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .or_cannot("open", "a socket")?;
    sys::loopback_up(socket.as_fd()).or_cannot("bring", "lo up")?;
    // A new network namespace begins with the machine's own settings, and a container manager may have made that a router.
    let forwarding = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forwarding, "0").or_cannot("write 0 to", forwarding)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    root::enter(&plan.root)?;
    // Where the kernel lets us, the box counts on from a number that no program can guess; else from 2.
    let _ = fs::write("/proc/sys/kernel/ns_last_pid", plan.last_pid.to_string());
    Ok(())
}

fn open_terminal() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).or_cannot("open", "a terminal")?;
    unlockpt(&master).or_cannot("unlock", "a terminal")?;
    let slave = ioctl_tiocgptpeer(&master, flags).or_cannot("open", "a terminal's other end")?;
    Ok((master, slave))
}

fn start_program(start: &Start, fds: Vec<OwnedFd>) -> Result<Pid> {
    let Ok([stdout, stderr, gate]) = <[OwnedFd; 3]>::try_from(fds) else {
        return Err(Error::broken("init was asked to start a program without its descriptors"));
    };
    match sys::fork() {
        Err(why) => Err(why).or_cannot("fork", "in the box"),
        Ok(ForkResult::Parent { child }) => Ok(child),
        Ok(ForkResult::Child) => {
            let gate = Channel::from_fd(gate);
            let Err(why) = become_program(start, &stdout, &stderr, &gate);
            let _ = gate.send(&Gate::Failed(why.reason()), &[]);
            sys::exit_now(127)
        }
    }
}

/// Waits at the gate, then executes the program. It returns only on failure.
fn become_program(start: &Start, stdout: &OwnedFd, stderr: &OwnedFd, gate: &Channel) -> Result<Infallible> {
    nix::unistd::setsid().or_cannot("make", "a session")?;
    let null = fs::File::open("/dev/null").or_cannot("open", "/dev/null")?;
    let dup = |result: rustix::io::Result<()>| result.or_cannot("set up", "its descriptors");
    if start.terminal {
        rustix::process::ioctl_tiocsctty(stdout).or_cannot("take", "the terminal")?;
        dup(rustix::stdio::dup2_stdin(stdout))?;
    } else {
        dup(rustix::stdio::dup2_stdin(&null))?;
    }
    dup(rustix::stdio::dup2_stdout(stdout))?;
    dup(rustix::stdio::dup2_stderr(stderr))?;
    std::env::set_current_dir(&start.cwd).or_cannot("enter", &start.cwd)?;
    if walls::stands(Wall::Capabilities) {
        // The ways to real-time scheduling and to a lower nice value without the capability.
        for resource in [Resource::RLIMIT_RTPRIO, Resource::RLIMIT_NICE] {
            setrlimit(resource, 0, 0).or_cannot("set", "its limits")?;
        }
    }
    for capability in WITHHELD.into_iter().filter(|_| walls::stands(Wall::Capabilities)) {
        // EINVAL: this kernel does not know it, so it cannot be used either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let program = find(start)
        .ok_or_else(|| Error::cannot_run(format!("{}: not found", start.argv.first().map_or("", String::as_str))))?;
    let text = |text: &str| CString::new(text).map_err(|_| Error::cannot_run(format!("{text:?} holds a NUL")));
    let argv = start.argv.iter().map(|word| text(word)).collect::<Result<Vec<_>>>()?;
    let env = start.env.iter().map(|(key, value)| text(&format!("{key}={value}"))).collect::<Result<Vec<_>>>()?;
    let program = text(&program.to_string_lossy())?;
    gate.send(&Gate::Waiting, &[]).or_cannot("tell", "that it waits")?;
    match gate.receive::<Gate>() {
        Ok(Some(received)) if matches!(received.message, Gate::Go) => {}
        _ => return Err(Error::cannot_run("was not let through")),
    }
    default_signals()?;
    if !start.traced_calls.is_empty() {
        sys::load_filter(&filter::for_tracer(&start.traced_calls)).or_cannot("load", "the tracer's filter")?;
    }
    match nix::unistd::execve(&program, &argv, &env) {
        Err(nix::errno::Errno::ENOEXEC) => Err(Error::cannot_run(format!(
            "cannot execute {}: no machine code and no #! line",
            program.to_string_lossy()
        ))),
        Err(why) => Err(why.desc()).or_cannot("execute", &*program.to_string_lossy()),
    }
}

/// The program's path: as given when it has a slash, else the first in `PATH`.
fn find(start: &Start) -> Option<PathBuf> {
    let name = start.argv.first()?;
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = start.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_str())?;
    path.split(':').map(|dir| PathBuf::from(dir).join(name)).find(|file| file.is_file())
}

/// Signals as a fresh login shell has them: nothing blocked, nothing ignored.
fn default_signals() -> Result<()> {
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        sys::default_action(signal).or_cannot("reset", signal.as_str())?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).or_cannot("unblock", "signals")
}

/// Closes every descriptor but `kept`; stdin, stdout and stderr become /dev/null.
fn keep_only(kept: BorrowedFd<'_>) -> Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").or_cannot("open", "/dev/null")?;
    for outcome in
        [rustix::stdio::dup2_stdin(&null), rustix::stdio::dup2_stdout(&null), rustix::stdio::dup2_stderr(&null)]
    {
        outcome.or_cannot("let", "go of the grader's terminal")?;
    }
    drop(null);
    let listed = fs::read_dir("/proc/self/fd").or_cannot("list", "descriptors")?;
    let open: Vec<i32> = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && *fd != kept.as_raw_fd()) {
        // EBADF: the one with which we listed them.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn watch_children() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).or_cannot("block", "SIGCHLD")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).or_cannot("watch", "for SIGCHLD")
}

fn tell(channel: &Channel, message: &InitReply, fds: &[BorrowedFd<'_>]) -> Result<()> {
    channel.send(message, fds).or_cannot("reach", "the grader")
}
