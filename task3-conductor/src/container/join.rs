//! Runs a further process in a running container.
//!
//! It joins all six namespaces and the cgroup of the first process through one pidfd, so that it cannot join those of
//! an unrelated process. Only a child can be in another PID namespace, so the parent selects where its next child is
//! created (`setns` with `CLONE_NEWPID`), creates it, and the child joins the rest. `attack` does the same.
//!
//! Look: `conductor exec --explain NAME -- true`. Manual: setns(2), nsenter(1).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nsutil::cgroup::Cgroup;
use nsutil::error::{OrCannot, Result};
use nsutil::namespace::{self, Kind};
use nsutil::process::{Child, Membership, PidFd, Report, SpawnOptions, join_cgroup, spawn};
use nsutil::syscall::{CloneFlags, setns};
use nsutil::terminal;
use rustix::fs::{Mode, OFlags};

use super::create::{Output, make_undumpable};
use super::setup::{Streams, connect_streams};
use super::{chroot, confine, root};
use crate::container::plan::Process;
use crate::output::failure::Failure;

/// A process in a container, as its starter sees it.
#[derive(Debug)]
pub struct Joined {
    /// The process.
    pub child: Child,
    /// The caller's end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// What a process needs in order to join a container.
struct JoinHandles<'a> {
    /// The first process.
    init: &'a PidFd,
    /// The v1 `cgroup.procs` files to write itself to.
    procs_files: &'a [File],
    /// The root of a container that is only a chroot.
    chroot: Option<&'a OwnedFd>,
}

/// Starts `process` in the container whose first process is `init`; `output` says how its streams are connected, and
/// whether it keeps running when its starter dies.
///
/// Afterwards the calling process is unusable for anything else: its children are created in the container.
///
/// # Errors
/// Of the step that failed; `ESRCH` or `ENOMEM` when the container ends meanwhile.
pub fn start(init: &PidFd, cgroup: &Cgroup, process: &Process, output: Output<'_>) -> Result<Joined, Failure> {
    let (ours, theirs) = UnixStream::pair().or_cannot("make", "a pair of sockets")?;
    let streams = match output {
        Output::Inherit(stdio) => Streams::Inherit(stdio),
        Output::Terminal(size) => Streams::Terminal { to: &theirs, size },
        Output::Detached(output) | Output::Attached(output) => Streams::Output(output),
    };
    let mut child = spawn_in_container(init, cgroup, process, |report| {
        if matches!(output, Output::Detached(_)) {
            report.outlive_parent()?;
        }
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let terminal = connect_streams(&streams, root.or_cannot("open", "/")?.as_fd())?;
        match confine::become_command(process, terminal, report)? {}
    })?;
    drop(theirs);
    child.ready()?;
    let terminal = match output {
        Output::Terminal(_) => terminal::receive_descriptor(&ours)?,
        Output::Inherit(_) | Output::Detached(_) | Output::Attached(_) => None,
    };
    child.wait_for_exec().map_err(Failure::of_command)?;
    Ok(Joined { child, terminal })
}

/// # Lesson 3.b (8 marks): let a new process join a container
///
/// The caller is in the container's PID namespace already, because its parent said so before it created it (lesson 1.b).
/// What is left are the cgroup and five namespaces: UTS, NET, IPC, CGROUP and the mount namespace.
///
/// 1. Join the cgroup, by `handles.procs_files`, first: from then on, whatever ends the container ends this process too.
/// 2. Join the namespaces through the descriptor `handles.init` of the container's first process. One [`setns`] with five
///    flags joins all of them or none; one call for each could stop half-way. The mount namespace brings its own root and
///    working directory with it, so no chroot is needed.
/// 3. Only the container of `--weak chroot` has a `handles.chroot`: its mount namespace still shows the host's files, so
///    enter that root.
///
/// After this the caller is confined as by `run`, by the same code: a second way in would be the weaker one some day
/// (CVE-2022-29162). See setns(2), nsenter(1), cgroup_namespaces(7).
///
/// Checks: exec.joins exec.root exec.clean
///
/// You may want: [`join_cgroup`], [`setns`], [`CloneFlags`], [`chroot::enter`]
fn join_container(handles: &JoinHandles<'_>) -> Result<()> {
    join_cgroup(handles.procs_files)?;
    let five = CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWNS;
    setns(handles.init, five)?;
    handles.chroot.map_or(Ok(()), chroot::enter)
}

/// Creates a child in the container that runs `inside`.
fn spawn_in_container(
    init: &PidFd,
    cgroup: &Cgroup,
    process: &Process,
    inside: impl FnOnce(&mut Report) -> Result<i32>,
) -> Result<Child> {
    let (clone_target, procs_files) = (cgroup.clone_target()?, cgroup.procs_files()?);
    let chroot = if process.confinement.is_chroot() { Some(root::of_running(init)?) } else { None };
    make_undumpable()?;
    setns(init, CloneFlags::CLONE_NEWPID)?;
    let membership = Membership { clone_target: clone_target.as_ref().map(File::as_fd), ..Membership::default() };
    let handles = JoinHandles { init, procs_files: &procs_files, chroot: chroot.as_ref() };
    spawn(SpawnOptions { namespaces: &[], cgroup: membership }, |report| {
        join_container(&handles)?;
        inside(report)
    })
}

/// Runs `work` in a child in the container, confined like a command but without exec. It has its own copy of the mount
/// namespace, so its mounts and unmounts vanish with it; its exit code is what `work` returns.
///
/// As after [`start`], the calling process is unusable for anything else.
///
/// # Errors
/// Of the step that failed; `ESRCH` or `ENOMEM` when the container ends meanwhile.
pub fn visit(init: &PidFd, cgroup: &Cgroup, process: &Process, work: impl FnOnce() -> i32) -> Result<Child> {
    let mut child = spawn_in_container(init, cgroup, process, |report| {
        namespace::unshare(&[Kind::Mount])?;
        let confined = confine::confine(process, None)?;
        report.ready()?;
        confined.load_filter()?;
        Ok(work())
    })?;
    child.ready()?;
    Ok(child)
}
