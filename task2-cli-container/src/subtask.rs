//! The three containers, each built on the one before.
//!
//! The functions tagged `# Lesson` are the exercise. Each starts `container_prog` in one kind of container and returns
//! at once; `main.rs` waits for the program and cleans up.

use std::fmt;
use std::path::{Path, PathBuf};

use nsutil::cgroup::{Cgroup, Quota};
use nsutil::error::{Error, Result};
use nsutil::process::{Child, PidFd, Report};
use nsutil::rootfs::Rootfs;
use nsutil::syscall::{CloneArgs, CloneFlags, chdir, chroot, clone3, execve, read_file, write_file};

use crate::running::{Running, in_child};

/// Settings that the three containers have in common.
#[derive(Debug)]
pub struct Container {
    /// The folder that becomes its root directory.
    pub root: Rootfs,
    /// `container_prog` on the host.
    pub program: PathBuf,
    /// The CPU limit of 2c.
    pub cpu: Quota,
}

/// The three containers, named as in the assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtask {
    /// Its own root directory.
    TwoA,
    /// Also its own PIDs and host name.
    TwoB,
    /// Also its own System V IPC, and a CPU limit.
    TwoC,
}

/// The path of `container_prog` in the container.
const INSIDE: &str = "/container_prog";

/// # Lesson 2.a (8 marks): a program in a root directory of its own
///
/// Copy `container_prog` into the container's root, as [`INSIDE`], with everything that it needs to start: its loader
/// and its libraries, each at the path where it is looked up ([`Rootfs::add_program`] does that). The root may be
/// empty, or incomplete after an interrupted run. Then create a child, with `flags` for [`clone3`]. The child calls
/// `first`; makes the container's root its root directory and its working directory, because [`chroot`] does not change
/// the latter; and executes `container_prog`, with its own name and `subtask` as arguments and an empty environment.
/// [`in_child`] runs all that and returns an error to the parent.
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
/// sees the host name that it sets. The child has nothing to do first. `subtask` is `subtask2`.
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
/// As 2.b, with a new IPC namespace as well, and in a cgroup limited to `container.cpu`: by default 50 ms of CPU time
/// in each 100 ms, for all processes of the container together. `subtask` is `subtask3`.
///
/// 1. Create a cgroup: [`Cgroup::for_cpu`]`("2c")` does so, and enables the cpu controller in the parent cgroup.
/// 2. Set the limit: write `QUOTA PERIOD`, both in microseconds, to `cpu.max` in its [`directory`](Cgroup::directory).
///    On a host whose cpu controller is in cgroup v1 ([`Cgroup::directory_in_v1`] has a value then), there are two files:
///    first write the period to `cpu.cfs_period_us`, then the quota to `cpu.cfs_quota_us`.
/// 3. Read back what you wrote. If the kernel holds another value, return an error.
/// 4. Move the child in before it executes the program: a process that writes `0` to `cgroup.procs` moves itself in.
///    If moved later, the program would run without a limit until then, and its earlier children would stay outside.
///
/// Return both child and cgroup: dropping a cgroup removes it.
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
    /// Those of the lessons; then nothing is left behind.
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
