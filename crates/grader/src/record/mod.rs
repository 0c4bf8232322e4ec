//! The record of a run: everything that a check may read.
//!
//! A run is observed first and judged later. The observers (`observe/`) fill a [`Run`]; the judges (`judge/`) are pure
//! functions of it, so they are tested on stored runs and a class can be re-judged without running anything again.
//! All process ids are those of the observer, which stands outside the box; `inner_pids` are the same process as the
//! box and its nested PID namespaces number it (`NSpid` in proc_pid_status(5)).

pub mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use steps::SessionRecord;

/// A process id as the observer sees it.
pub type Pid = i32;

/// Stands for the process that wrote what came out and that was not seen to write it.
pub const UNKNOWN_WRITER: Pid = 0;

/// One run of a submission, from the first exec to the proof that nothing is left.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    /// How it was watched.
    pub observer: Observer,
    /// What stdout was.
    pub stdout_kind: StdoutKind,
    /// The box the program ran in: what "the host" is to it.
    pub host: Host,
    /// First process of the submission (the one the grader executed).
    pub root_pid: Pid,
    /// Everything that was seen, in order.
    pub events: Vec<Event>,
    /// Periodic looks at the cgroups of the processes, oldest first.
    pub samples: Vec<Sample>,
    /// What came out.
    pub output: Output,
    /// How the first process ended.
    pub end: End,
    /// The box before the program started.
    pub before: Snapshot,
    /// The box after the first process had ended, before anything was killed.
    pub after: Snapshot,
    /// Wall time from exec to the end of the first process.
    pub wall: Duration,
    /// Of a tool (tasks 3 and 4): the command lines, looks and probes. There is no first process then, and no event.
    #[serde(default)]
    pub session: SessionRecord,
    /// Every cgroup that the submission was seen to make, as `CONTROLLERS:/PATH`, whether it is still there or not. Where
    /// `/sys/fs/cgroup` is a plain directory, also what was made there, as the name alone.
    #[serde(default)]
    pub cgroups_made: Vec<String>,
    /// On v2: whether the box's root was seen to have `cpu` in cgroup.subtree_control while the submission ran.
    #[serde(default)]
    pub cpu_was_enabled: bool,
    /// How many times slower than on a machine of its own it got on, on average; less than 1 when that is not known.
    #[serde(default)]
    pub crowding: f64,
    /// What building it brought up and what costs nothing, such as a compiler's warning.
    #[serde(default)]
    pub build_remarks: Vec<String>,
    /// What the grader itself could not take away afterwards; when not empty, the machine is not proved clean.
    #[serde(default)]
    pub not_clean: Vec<String>,
    /// What the box's guard refused: attempts to reach the machine under the box. They cost no marks by themselves.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Where the submission's folder was copied to, when that was asked for.
    #[serde(default)]
    pub kept: Option<PathBuf>,
}

impl Run {
    /// What came out of each command of a tool, and of the program.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        let commands = self.session.steps.iter().filter_map(|step| match &step.did {
            steps::StepKind::Command(command) => Some(&command.output),
            _ => None,
        });
        commands.chain([&self.output])
    }

    /// The number of `pid` in the box: the one that the submission's own ps(1) shows, and so the one for people.
    pub fn number_of(&self, pid: Pid) -> Pid {
        let own = self.events.iter().find_map(|event| match &event.what {
            EventKind::Born { child, child_state } if *child == pid => child_state.inner_pids.get(1),
            _ if event.pid == pid => event.state.inner_pids.get(1),
            _ => None,
        });
        let sampled = || self.samples.iter().find(|sample| sample.pid == pid)?.state.inner_pids.get(1);
        own.or_else(sampled).copied().unwrap_or(pid)
    }
}

/// How a run was watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observer {
    /// ptrace(2): every call of interest is seen as it happens.
    #[default]
    Traced,
    /// No tracer: writers are held by a full pipe, the box is frozen, /proc is read.
    Frozen,
    /// A tool's command lines run undisturbed; the box is looked at between them.
    Between,
}

/// What the program's stdout was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdoutKind {
    /// A pseudo terminal: C's stdio writes line by line.
    #[default]
    Pty,
    /// A pipe: C's stdio writes when the buffer is full or at exit.
    Pipe,
}

/// What "the host" is to the program: the box.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Host {
    /// The box's random host name.
    pub name: String,
    /// The namespaces of the box, in which the submission starts.
    pub namespaces: Namespaces,
    /// The cgroup in which the submission starts, as a path below the box's cgroup root.
    pub cgroup: BTreeMap<String, String>,
    /// Root directory of the box.
    pub root: FileId,
    /// The folder the submission was started in, as a path inside the box.
    pub cwd: String,
    /// `container_root` inside the box, once it exists (task 2).
    pub container_root: Option<FileId>,
    /// Where the cpu controller is: `v1` or `v2`, or none.
    pub cpu_controller: Option<String>,
    /// On v2: whether the box's root had `cpu` in cgroup.subtree_control before the program started.
    pub cpu_enabled: bool,
}

/// Namespace inode by kind (`uts`, `pid`, `ipc`, `mnt`, `net`, `cgroup`, `user`, `time`, `pid_for_children`).
pub type Namespaces = BTreeMap<String, u64>;

/// A file is the same file when device and inode are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// One thing that was seen, with what the kernel said of the process at that moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Time since the first exec.
    pub at: Duration,
    /// The process it happened to.
    pub pid: Pid,
    /// The kernel's word on that process at that moment.
    pub state: ProcessState,
    /// What happened.
    pub what: EventKind,
}

/// What the kernel says of one process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessState {
    /// `NStgid`: the process id, observer's first, innermost last. The box's own is the second.
    pub inner_pids: Vec<Pid>,
    /// Of a thread that is not the first of its process: its own id. Its namespaces may be other than the process's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Pid>,
    /// Parent's id, seen by the observer.
    pub parent: Pid,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Host name in its UTS namespace.
    pub hostname: String,
    /// Its root directory.
    pub root: FileId,
    /// Whether its working directory is below its root, and as what path.
    pub cwd: Option<String>,
    /// Its program file, as a path in its own root.
    pub exe: Option<String>,
    /// Its cgroup by hierarchy (`""` for v2, else the v1 controllers, such as `cpu`), below the box's cgroup root.
    pub cgroups: BTreeMap<String, String>,
}

/// What happened in an [`Event`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The process made this child (fork, vfork, clone, clone3). The event's process is the parent.
    Born {
        /// The child.
        child: Pid,
        /// The child's state before its first instruction.
        child_state: Box<ProcessState>,
    },
    /// The process replaced itself by a program.
    Exec {
        /// Its arguments.
        argv: Vec<String>,
    },
    /// A system call of interest returned; `result` is negative errno on failure.
    Call {
        /// Name, as in the manual.
        name: String,
        /// Raw arguments.
        args: [u64; 6],
        /// What they mean, where decoded: `CLONE_NEWUTS|CLONE_NEWPID`, a path, a host name.
        decoded: String,
        /// The return value.
        result: i64,
    },
    /// It writes to the stdout (1) or stderr (2) that the grader gave it.
    Wrote {
        /// 1 or 2, by the file behind it, not by the number used.
        stream: u8,
        /// The text, lossy UTF-8.
        text: String,
    },
    /// It was there, and did nothing of note, at the moment another process was held at a write (frozen runs).
    Seen,
    /// It ended, and whether its parent was told (reaped) before the box ended.
    Exited {
        /// Exit code, or 128 + signal.
        code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// Its parent waited for it.
    Reaped {
        /// The process that waited.
        by: Pid,
    },
}

/// One look at a process's cgroup while it ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Time since the first exec.
    pub at: Duration,
    /// The process.
    pub pid: Pid,
    /// Its arguments.
    pub argv: Vec<String>,
    /// What the kernel said of it.
    pub state: ProcessState,
    /// CPU time it has used so far (utime + stime).
    pub cpu: Duration,
    /// Its cgroups from the one it is in up to the box's root, for the hierarchy that has cpu.
    pub limits: Vec<CpuLimit>,
}

/// The cpu limit of one cgroup, as read from the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLimit {
    /// Path below the box's cgroup root.
    pub cgroup: String,
    /// Microseconds of CPU time in each period; none is no limit (`max`, or -1 on v1).
    pub quota_us: Option<u64>,
    /// Length of a period in microseconds.
    pub period_us: u64,
    /// Periods counted so far (`cpu.stat`).
    pub nr_periods: u64,
    /// Periods in which it was throttled.
    pub nr_throttled: u64,
}

/// What came out of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// stdout, lossy UTF-8, `\r\n` of a pty made `\n`.
    pub stdout: String,
    /// stderr, the same.
    pub stderr: String,
    /// Output was longer than the limit and was cut.
    pub cut: bool,
}

/// How the first process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// It had to be ended; where it stood, such as `asleep in wait4 on child 2`.
    TimedOut(String),
    /// It had to be ended, and had done nothing but compute; the CPU time that it and its children had used.
    StillComputing(Duration),
    /// A limit of the box was hit: output, processes, memory.
    OverLimit(String),
    /// The observer lost it.
    #[default]
    Unknown,
}

/// The box at one moment: what must be the same afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Host name of the box.
    pub hostname: String,
    /// Processes in the box besides its init: box pid and command line; zombies end in ` <defunct>`.
    pub processes: Vec<(Pid, String)>,
    /// Mount points seen by the box's init.
    pub mounts: Vec<String>,
    /// cgroups below the box's root.
    pub cgroups: Vec<String>,
    /// Network links.
    pub links: Vec<String>,
    /// System V IPC objects and POSIX message queues.
    pub ipc: Vec<String>,
    /// Names in `container_root` (task 2), without `.` and `..`; empty when there is no such folder.
    #[serde(default)]
    pub container_root: Vec<String>,
    /// Changed sysctls and other host settings that were looked at.
    pub settings: BTreeMap<String, String>,
}
