//! The three containers, each built on the one before.
//!
//! The functions tagged `# Lesson` are the exercise. Each starts `container_prog` in one kind of container and returns
//! at once; who waits for it and takes everything down again is in `main.rs`.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nsutil::cgroup::{Cgroup, Limits, Quota};
use nsutil::error::Result;
use nsutil::namespace::Kind;
use nsutil::process::{Birth, Child, Membership, exec, spawn};
use nsutil::rootfs::Rootfs;

use crate::running::Running;

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
/// and its libraries, each at the path where it will be looked for. The root may be empty, or half full from a run that
/// broke off. Then start a child that is born as `birth` says, makes that folder its root directory and becomes
/// `container_prog`, with its own name and `subtask` as arguments and no environment. Two calls are needed to enter:
/// chroot(2) leaves the working directory where it was; [`Rootfs::enter`] makes both.
///
/// Checks: root.filled root.isolated      You may want: [`Rootfs::add_program`], [`Rootfs::enter`], [`spawn`], [`exec`]
fn start_in_own_root(container: &Container, birth: Birth<'_>, subtask: &str) -> Result<Child> {
    container.root.add_program(&container.program, Path::new(INSIDE))?;
    spawn(birth, |_| {
        container.root.enter()?;
        match exec(Path::new(INSIDE), &["container_prog", subtask], &[])? {}
    })
}

/// # Lesson 2.b (8 marks): process numbers and a host name of its own
///
/// As 2.a, with a PID namespace, so that the program is process 1, and a UTS namespace, so that the name it gives its
/// host is nobody else's. `subtask` is `subtask2`.
///
/// Checks: pid.one uts.isolated      You may want: [`Birth`], [`Kind`], [`start_in_own_root`]
fn start_isolated(container: &Container) -> Result<Child> {
    let namespaces = [Kind::Pid, Kind::Uts];
    start_in_own_root(container, Birth { namespaces: &namespaces, ..Birth::default() }, "subtask2")
}

/// # Lesson 2.c (10 marks): IPC of its own, and half of one core
///
/// As 2.b, with an IPC namespace as well, and in a cgroup that allows `container.cpu`: by default 50 ms of CPU time in
/// each 100 ms, for all processes of the container together. The program must be in the cgroup before its first
/// instruction, so it is born there; moved in later, it would have run without a limit until then, and children that it
/// had already would stay outside. `subtask` is `subtask3`. Hand back both, child and cgroup: a cgroup that is dropped
/// is removed.
///
/// The root of the tree may not hand on the cpu controller yet: then a cgroup has no limit to set until somebody enables
/// it there. [`Cgroup::create`] does.
///
/// Checks: ipc.isolated limit.set limit.enabled limit.works limit.all
///
/// You may want: [`Cgroup::create`], [`Limits`], [`Birth`], [`Membership`], [`start_in_own_root`]
fn start_limited(container: &Container) -> Result<(Child, Cgroup)> {
    let namespaces = [Kind::Pid, Kind::Uts, Kind::Ipc];
    let limit = Cgroup::create("2c", &Limits { cpu: Some(container.cpu), ..Limits::default() })?;
    let (clone_target, procs_files) = (limit.clone_target()?, limit.procs_files()?);
    let cgroup = Membership { clone_target: clone_target.as_ref().map(File::as_fd), procs_files: &procs_files };
    let child = start_in_own_root(container, Birth { namespaces: &namespaces, cgroup }, "subtask3")?;
    Ok((child, limit))
}

impl Subtask {
    /// Starts its container.
    ///
    /// # Errors
    /// Those of the lessons; nothing is left behind then.
    pub fn start(self, container: &Container) -> Result<Running> {
        match self {
            Self::TwoA => Running::new(start_in_own_root(container, Birth::default(), "subtask1")?, None),
            Self::TwoB => Running::new(start_isolated(container)?, None),
            Self::TwoC => {
                let (child, limit) = start_limited(container)?;
                Running::new(child, Some(limit))
            }
        }
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
