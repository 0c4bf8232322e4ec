//! A host in a box: everything a lab may change, fresh for each run and gone afterwards.
//!
//! A submission for these labs is a program that runs as root and makes namespaces, mounts and cgroups. It gets a machine
//! of its own to do so, made of the same parts it is about to use: namespaces of every kind that matters, an overlay over
//! the host's files, and cgroups that bound what it may use. Killing the box's first process ends all others; removing
//! its cgroups proves that none is left.
//!
//! This keeps accidents in. It does not keep in a root program that wants out: for that there are virtual machines.
//! Look: `lsns`, `systemd-cgls`, while a run is paused. Manual: namespaces(7), cgroups(7).

mod bpf;
mod cgroup;
mod channel;
mod core_dumps;
mod filter;
mod guard;
mod init;
mod namespace_ids;
pub mod proc;
mod root;
mod rooted;
mod sudo;
mod walls;
mod watchdog;
mod worker;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::ForkResult;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// Whether the kernel is of this version or a later one.
fn is_linux(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

#[cfg(test)]
pub use bpf::load_probe;
pub use cgroup::{Cgroups, INIT, ResourceLimits, SESSION};
pub use init::Start;
pub use root::{FileKind, SandboxFile};
pub use rooted::Rooted;
pub use sudo::sudo;
#[cfg(test)]
pub use walls::{Wall, without};
pub use worker::Worker;

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::sys;
use channel::Channel;
use guard::Guard;
pub use guard::ends::Ending;
use init::{Gate, InitPlan, InitReply, InitRequest};
use root::RootPlan;
use watchdog::Watchdog;

/// Memory below which no box is made: not even a shell script would get by.
const LEAST_MEMORY: u64 = 32 << 20;

/// Where programs are looked for that root runs: the folders that Debian gives root.
pub const ROOTS_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which walls cannot be had on this machine, each in a sentence.
pub fn missing_walls() -> Vec<String> {
    core_dumps::leak().into_iter().collect()
}

/// How a box is to be.
#[derive(Debug, Clone)]
pub struct SandboxPlan {
    /// Its host name and first process id follow from this number.
    pub seed: u64,
    /// The submission's folder inside.
    pub folder: PathBuf,
    /// What lies in it.
    pub files: Vec<SandboxFile>,
    /// Files of the box's own system, by absolute path: they take the place of the host's.
    pub system: Vec<SandboxFile>,
    /// Whether `/home` is a file system of its own, for tools that mount overlays: see [`RootPlan::own_home`].
    pub own_home: bool,
    /// What of the host it must not see, as canonical paths.
    pub hide: Vec<PathBuf>,
    /// Bytes it may write to its files.
    pub disk_bytes: u64,
    /// What it may use.
    pub limits: ResourceLimits,
    /// On v2: whether its cgroup root hands the cpu controller on before anything is started.
    pub cpu_enabled: bool,
    /// Whether a process that ends waits until it was looked at: see [`Sandbox::ends`]. A tracer does not see these calls.
    pub tells_of_ends: bool,
}

/// A box that runs. Taken down by [`Sandbox::take_down`], or when dropped.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    init: i32,
    pidfd: OwnedFd,
    channel: Channel,
    cgroups: Cgroups,
    limits: ResourceLimits,
    /// Ends that init told of while it was asked for something else.
    ended: Mutex<VecDeque<(i32, i32)>>,
    /// Answers for calls of the box; there from the moment it is set up.
    guard: Option<Guard>,
    watchdog: Option<Watchdog>,
    taken_down: bool,
}

/// A program of the box that is stopped before its exec.
#[derive(Debug)]
pub struct Held {
    pid: i32,
    gate: Channel,
}

impl Sandbox {
    /// Makes a box. The calling thread must outlive it: init dies with the thread that made it.
    ///
    /// # Errors
    /// `Exit::CannotRun` with what is missing here.
    pub fn start(plan: &SandboxPlan) -> Result<Sandbox> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::cannot_run("the box needs root (namespaces, mounts, cgroups): use sudo"));
        }
        if plan.limits.memory_bytes < LEAST_MEMORY {
            return Err(Error::cannot_run(format!(
                "too little memory: this machine can give the box {} MiB, and it needs {}; free some, or grade elsewhere",
                plan.limits.memory_bytes >> 20,
                LEAST_MEMORY >> 20
            )));
        }
        let name = format!("host-{:04x}", mix(plan.seed) & 0xffff);
        let cgroups = Cgroups::create(plan.limits)?;
        let init_plan = InitPlan {
            root: RootPlan {
                size_bytes: plan.disk_bytes,
                hostname: name.clone(),
                hide: plan.hide.clone(),
                folder: plan.folder.clone(),
                files: plan.files.clone(),
                system: plan.system.clone(),
                own_home: plan.own_home,
                cgroups: cgroups.mounts(),
            },
            tells_of_ends: plan.tells_of_ends,
            last_pid: 1000 + i32::try_from(mix(plan.seed ^ 1) % 20_000).unwrap_or(0),
        };
        let (channel, theirs) = Channel::pair().or_cannot("make", "the line to init").into_broken()?;
        let init = fork_init(&init_plan, &theirs)?;
        drop(theirs);
        let pidfd = rustix::process::Pid::from_raw(init)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .or_cannot("open", "a pidfd for the box's init")
            .into_broken()?;
        let (limits, ended) = (plan.limits, Mutex::default());
        let mut made = Sandbox {
            name,
            init,
            pidfd,
            channel,
            cgroups,
            limits,
            ended,
            guard: None,
            watchdog: None,
            taken_down: false,
        };
        made.cgroups.enter(init)?;
        made.ask(&InitRequest::SetUp, &[])?;
        match made.hear()? {
            (InitReply::Ready, mut listener) if listener.len() == 1 => {
                let guard = listener.pop().map(|listener| Guard::start(listener, init, &made.cgroups)).transpose();
                made.guard = guard.or_cannot("start", "the box's guard").into_broken()?;
            }
            other => return Err(unexpected(&other.0)),
        }
        if walls::stands(walls::Wall::Settings) {
            made.cgroups.lock_settings()?;
        }
        made.cgroups.move_to(init, INIT)?;
        made.cgroups.delegate(plan.cpu_enabled)?;
        Ok(made)
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first process, as we number it.
    pub fn init(&self) -> i32 {
        self.init
    }

    /// What it may use.
    pub fn limits(&self) -> ResourceLimits {
        self.limits
    }

    /// Its cgroups.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// What its programs tried and the guard refused.
    pub fn refused(&self) -> Vec<String> {
        self.guard.as_ref().map(Guard::refused).unwrap_or_default()
    }

    /// The channel that announces exiting processes, until [`Sandbox::no_more_ends`].
    pub fn ends(&self) -> Option<Receiver<Ending>> {
        self.guard.as_ref().map(|guard| guard.ends().hear())
    }

    /// Whether a process may have ended that was not looked at.
    pub fn missed_an_end(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.ends().were_missed())
    }

    /// From now on processes end without being looked at.
    pub fn no_more_ends(&self) {
        if let Some(guard) = &self.guard {
            guard.ends().stop();
        }
    }

    /// A terminal of the box: master and slave.
    ///
    /// # Errors
    /// `Exit::CannotRun` with init's reason.
    pub fn open_terminal(&self) -> Result<(OwnedFd, OwnedFd)> {
        self.ask(&InitRequest::OpenTerminal, &[])?;
        let (told, fds) = self.hear()?;
        match <[OwnedFd; 2]>::try_from(fds) {
            Ok([master, slave]) if matches!(told, InitReply::Terminal) => Ok((master, slave)),
            _ => Err(unexpected(&told)),
        }
    }

    /// Starts a program up to the moment before its exec, in the session cgroup.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the reason, when it is not there or cannot be executed.
    pub fn hold(&self, start: &Start, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Held> {
        let (gate, theirs) = Channel::pair().or_cannot("make", "a gate").into_broken()?;
        self.ask(&InitRequest::Start(start.clone()), &[stdout, stderr, theirs.as_fd()])?;
        drop(theirs);
        let waiting = gate.receive::<Gate>().or_cannot("hear", "from the program").into_broken()?;
        match waiting {
            Some(heard) => match (heard.message, heard.sender) {
                (Gate::Waiting, Some(pid)) => {
                    self.cgroups.move_to(pid, SESSION)?;
                    Ok(Held { pid, gate })
                }
                (Gate::Failed(why), _) => Err(Error::cannot_run(why)),
                (other, _) => Err(Error::broken(format!("a program of the box said {other:?}"))),
            },
            None => Err(Error::cannot_run("the box ended before the program was started")),
        }
    }

    /// Waits up to `limit` for a program that [`Sandbox::hold`] started to end; the id is the box's, the status raw.
    ///
    /// # Errors
    /// `Exit::Broken` when init said something else.
    pub fn ended(&self, limit: Duration) -> Result<Option<(i32, i32)>> {
        let known = self.ended.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if known.is_some() {
            return Ok(known);
        }
        if !readable(self.channel.as_fd(), limit) {
            return Ok(None);
        }
        match self.channel.receive::<InitReply>() {
            Ok(Some(heard)) => match heard.message {
                InitReply::Ended { pid, status } => Ok(Some((pid, status))),
                other => Err(unexpected(&other)),
            },
            // Init is gone, and everything with it.
            Ok(None) => Ok(Some((0, libc::SIGKILL))),
            Err(why) => Err(why).or_cannot("hear", "from init").into_broken(),
        }
    }

    /// Ends the box after `limit`, or when a signal stays unread in `signals`, even if other threads wait for the box.
    ///
    /// # Errors
    /// `Exit::Broken` when no thread can be had.
    pub fn watch_over(&mut self, limit: Duration, signals: BorrowedFd<'_>) -> Result<()> {
        let watchdog = Watchdog::start(self.pidfd.as_fd(), limit, signals);
        self.watchdog = Some(watchdog.or_cannot("start", "the box's watchdog").into_broken()?);
        Ok(())
    }

    /// Why the box is over, or nearly so, when that is the submission's doing: a limit was hit, or the time was up while
    /// the grader waited for the box.
    pub fn used_up(&self) -> Option<String> {
        let is_late = self.watchdog.as_ref().is_some_and(Watchdog::has_acted);
        let late = || is_late.then(|| "the time was up, and the box did not answer any more".to_owned());
        self.cgroups.limit_hit().or_else(late)
    }

    /// Kills everything in the box. A tracer must go on waiting for its tracees.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        self.cgroups.kill();
    }

    /// Ends the box and checks that it is gone; returns what is left.
    pub fn take_down(mut self) -> Vec<String> {
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        self.taken_down = true;
        let mut left = Vec::new();
        // Again and again: something in the box may freeze it at the wrong moment.
        let gone = (0..100).any(|_| {
            self.kill();
            readable(self.pidfd.as_fd(), Duration::from_millis(100))
        });
        if gone {
            // ECHILD: a tracer has reaped it already.
            let _ = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        } else {
            left.push(format!("process {}, the box's init, would not end", self.init));
        }
        left.extend(self.cgroups.remove());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = format!(" {} ", root::SOURCE);
        left.extend(mounts.lines().filter(|line| line.contains(&ours)).map(|line| format!("mount {line}")));
        left
    }

    fn ask(&self, ask: &InitRequest, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.channel.send(ask, fds).or_cannot("reach", "the box's init").into_broken()
    }

    fn hear(&self) -> Result<(InitReply, Vec<OwnedFd>)> {
        match self.channel.receive().or_cannot("hear", "from the box's init").into_broken()? {
            Some(heard) => match heard.message {
                InitReply::Ended { pid, status } => {
                    self.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back((pid, status));
                    self.hear()
                }
                InitReply::Failed(why) => Err(Error::cannot_run(format!("no box can be made here: {why}"))),
                told => Ok((told, heard.fds)),
            },
            None => Err(Error::cannot_run("the box's init ended before the box was ready")),
        }
    }
}

/// Readable when [`Sandbox::ended`] has a result.
impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.taken_down {
            self.end();
        }
    }
}

impl Held {
    /// The process, as we number it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Opens the gate.
    ///
    /// # Errors
    /// `Exit::Broken` when it died at the gate.
    pub fn go(&self) -> Result<()> {
        self.gate.send(&Gate::Go, &[]).or_cannot("let", "the program go").into_broken()
    }

    /// Why it did not become the program; `None` when it did. To be asked once it has run or ended.
    pub fn failure(&self) -> Option<String> {
        if !readable(self.gate.as_fd(), Duration::from_secs(5)) {
            return None;
        }
        match self.gate.receive::<Gate>() {
            Ok(Some(heard)) => match heard.message {
                Gate::Failed(why) => Some(why),
                Gate::Waiting | Gate::Go => None,
            },
            // The exec closed its end.
            Ok(None) | Err(_) => None,
        }
    }
}

/// Forks the box's init into a PID namespace of its own; this thread's later children stay in the old one.
fn fork_init(plan: &InitPlan, channel: &Channel) -> Result<i32> {
    let home = File::open("/proc/thread-self/ns/pid").or_cannot("open", "/proc/thread-self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID).or_cannot("make", "a PID namespace")?;
    let forked = sys::fork();
    if let Ok(ForkResult::Child) = forked {
        sys::exit_now(init::live(plan, channel))
    }
    setns(&home, CloneFlags::CLONE_NEWPID).or_cannot("come", "back from the box's PID namespace")?;
    match forked.or_cannot("fork", "the box's init")? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => Err(Error::broken("a child came back")),
    }
}

/// Waits up to `limit` until `fd` has something to read, or its other end is gone.
pub fn readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let millis = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    poll(&mut fds, millis).is_ok_and(|ready| ready > 0)
}

/// Spreads a seed over all bits, so that neighbouring seeds look unrelated (the finaliser of SplitMix64).
pub fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn unexpected(told: &InitReply) -> Error {
    Error::broken(format!("the box's init said {told:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbouring_seeds_give_unrelated_names() {
        let names: BTreeSet<u64> = (0..100).map(|seed| mix(seed) & 0xffff).collect();
        assert!(names.len() > 98);
    }

    #[test]
    #[ignore = "needs root: make test"]
    fn a_box_is_up_in_no_time_and_gone_with_all_it_held() {
        let plan = SandboxPlan {
            seed: 7,
            folder: PathBuf::from("/home/student/task1"),
            files: Vec::new(),
            system: Vec::new(),
            own_home: false,
            hide: Vec::new(),
            disk_bytes: 16 << 20,
            limits: ResourceLimits { pids: 64, memory_bytes: 256 << 20 },
            cpu_enabled: false,
            tells_of_ends: false,
        };
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..20 {
            let start = std::time::Instant::now();
            let made = Sandbox::start(&plan).unwrap();
            times.push(start.elapsed());
            assert_eq!(made.cgroups().processes(), [made.init()]);
            assert_eq!(made.take_down(), Vec::<String>::new());
        }
        times.sort();
        let start = std::time::Instant::now();
        assert!((0..10).all(|_| std::process::Command::new("/bin/true").status().unwrap().success()));
        let program = start.elapsed() / 10;
        // 15 ms against 1 ms on an idle machine; what is refused here is a box that waits for something.
        assert!(times[10] < program * 100, "{times:?}; a program starts in {program:?}");
        eprintln!("a box is up in {:?} to {:?}, half of them in {:?}", times[0], times[19], times[10]);
    }
}
