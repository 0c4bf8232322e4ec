//! The three containers, each built on the one before.
//!
//! The functions tagged `# Lesson` are the exercise. Each starts `container_prog` in one kind of container and returns
//! at once; `main.rs` waits for the program and takes everything down again.

use std::fmt;
use std::path::{Path, PathBuf};

use nsutil::cgroup::{Cgroup, Quota};
use nsutil::error::{Error, Result};
use nsutil::process::{Child, PidFd, Report};
use nsutil::rootfs::Rootfs;
use nsutil::syscall::{CloneArgs, CloneFlags, chdir, chroot, clone3, execve, read_file, write_file};

use crate::running::{Running, in_child};

/// What the three have in common.
#[derive(Debug)]
pub struct Container {
    /// The folder that becomes its root directory.
    pub root: Rootfs,
    /// `container_prog` on the host.
    pub program: PathBuf,
    /// What 2c allows.
    pub cpu: Quota,
}

/// Which container, by the assignment's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtask {
    /// A root directory of its own.
    TwoA,
    /// And process numbers and a host name.
    TwoB,
    /// And System V IPC and a limit of CPU time.
    TwoC,
}

/// Where `container_prog` stands in the container's root.
const INSIDE: &str = "/container_prog";

/// # Lesson 2.a (8 marks): a program in a root directory of its own
///
/// Put `container_prog` into the container's root, as [`INSIDE`], with everything that it needs to start: its loader
/// and its libraries, each at the path where it will be looked for ([`Rootfs::add_program`] does that). The root may be
/// empty, or half full from a run that broke off. Then create a child, with `flags` for [`clone3`]. The child does what
/// `first` says; makes the container's root its root directory, and goes into it, because [`chroot`] leaves the working
/// directory where it was; and becomes `container_prog`, with its own name and `subtask` as arguments and no environment.
/// [`in_child`] runs all that and brings an error home to the parent.
///
/// Checks: root.filled root.isolated
///
/// You may want: [`Rootfs::add_program`], [`Rootfs::path`], [`clone3`], [`in_child`], [`chroot`], [`chdir`], [`execve`]
fn start_in_own_root(
    container: &Container,
    flags: CloneFlags,
    first: impl FnOnce() -> Result<()>,
    subtask: &str,
    report: Report,
) -> Result<PidFd> {
    container.root.add_program(&container.program, Path::new(INSIDE))?;
    clone3(&CloneArgs { flags, ..CloneArgs::default() }, || {
        in_child(report, || {
            first()?;
            chroot(container.root.path())?;
            chdir("/")?;
            execve(INSIDE, &["container_prog", subtask], &[])
        })
    })
}

/// # Lesson 2.b (8 marks): process numbers and a host name of its own
///
/// As 2.a, with a new PID namespace, so that the program is process 1, and a new UTS namespace, so that no other process
/// sees the name that it gives its host. The child has nothing to do first. `subtask` is `subtask2`.
///
/// Checks: pid.one uts.isolated
///
/// You may want: [`start_in_own_root`], [`CloneFlags`]
fn start_isolated(container: &Container, report: Report) -> Result<PidFd> {
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS;
    start_in_own_root(container, flags, || Ok(()), "subtask2", report)
}

/// # Lesson 2.c (10 marks): IPC of its own, and half of one core
///
/// As 2.b, with a new IPC namespace as well, and in a cgroup that allows `container.cpu`: by default 50 ms of CPU time in
/// each 100 ms, for all processes of the container together. `subtask` is `subtask3`.
///
/// 1. Make a cgroup: [`Cgroup::for_cpu`]`("2c")` does, and enables the cpu controller in the cgroup above.
/// 2. Set the limit: write `QUOTA PERIOD`, both in microseconds, into `cpu.max` in its [`directory`](Cgroup::directory).
///    On a host whose cpu controller is in cgroup v1 ([`Cgroup::directory_in_v1`] has a value then), there are two files:
///    the period goes into `cpu.cfs_period_us`, after that the quota into `cpu.cfs_quota_us`.
/// 3. Read back what you wrote. If the kernel holds another value, that is an error.
/// 4. Put the child in before it becomes the program: a process that writes `0` into `cgroup.procs` moves itself there.
///    Moved in later, the program would have run without a limit until then, and its children would stay outside.
///
/// Hand back both, child and cgroup: a cgroup that is dropped is removed.
///
/// Checks: ipc.isolated limit.set limit.enabled limit.works limit.all
///
/// You may want: [`Cgroup::for_cpu`], [`write_file`], [`read_file`], [`Error::new`], [`start_in_own_root`]
fn start_limited(container: &Container, report: Report) -> Result<(PidFd, Cgroup)> {
    let cgroup = Cgroup::for_cpu("2c")?;
    let directory = cgroup.directory();
    let Quota { quota_us, period_us } = container.cpu;
    let settings = match cgroup.directory_in_v1() {
        None => vec![("cpu.max", format!("{quota_us} {period_us}"))],
        Some(_) => vec![("cpu.cfs_period_us", period_us.to_string()), ("cpu.cfs_quota_us", quota_us.to_string())],
    };
    for (name, value) in settings {
        let file = directory.join(name);
        write_file(&file, &value)?;
        let held = read_file(&file)?;
        if held.trim_end() != value {
            let reason = format!("{value} was written, the kernel holds {held}");
            return Err(Error::new("limit CPU time by", file.display(), reason));
        }
    }
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    let join = || write_file(directory.join("cgroup.procs"), "0");
    let child = start_in_own_root(container, flags, join, "subtask3", report)?;
    Ok((child, cgroup))
}

impl Subtask {
    /// Starts its container.
    ///
    /// # Errors
    /// Those of the lessons; nothing is left behind then.
    pub fn start(self, container: &Container) -> Result<Running> {
        let mut limit = None;
        let child = Child::created(|report| match self {
            Self::TwoA => start_in_own_root(container, CloneFlags::empty(), || Ok(()), "subtask1", report),
            Self::TwoB => start_isolated(container, report),
            Self::TwoC => {
                let (child, cgroup) = start_limited(container, report)?;
                limit = Some(cgroup);
                Ok(child)
            }
        })?;
        Running::new(child, limit)
    }
}

impl fmt::Display for Subtask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TwoA => "2a",
            Self::TwoB => "2b",
            Self::TwoC => "2c",
        })
    }
}
