//! A further process in a running container.
//!
//! It joins all six namespaces and the cgroup of the first process through one descriptor of it, so that it cannot end
//! up in a stranger's. Only a child can be in another PID namespace, so the parent says where its next child is born
//! (`setns` with `CLONE_NEWPID`), forks, and the child joins the rest: nobody stands with one foot in each world.
//!
//! Look: `conductor exec --explain NAME -- true`. Manual: setns(2), nsenter(1).

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nsutil::cgroup::Cgroup;
use nsutil::error::{OrCannot, Result};
use nsutil::namespace::{self, Kind};
use nsutil::process::{Birth, Child, Membership, PidFd, Report, join_cgroup, spawn};
use nsutil::terminal;
use rustix::fs::{Mode, OFlags};

use super::host::{Voice, be_unreadable};
use super::inside::{Streams, connect};
use super::{confine, root, weak};
use crate::failure::Failure;
use crate::plan::Process;

/// A process in a container, from the side of who started it.
#[derive(Debug)]
pub struct Joined {
    /// The process.
    pub child: Child,
    /// The caller's end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// By what a process gets into a container.
struct WayIn<'a> {
    /// The first process.
    init: &'a PidFd,
    /// The `cgroup.procs` of the directories that it is not created in.
    procs_files: &'a [File],
    /// The root of a container that is only a chroot.
    chroot: Option<&'a OwnedFd>,
}

/// What the child itself joins; its PID namespace is where its parent had it born.
const REST: [Kind; 5] = [Kind::Uts, Kind::Net, Kind::Ipc, Kind::Cgroup, Kind::Mount];

/// Starts `process` in the container whose first process is `init`; `voice` says who talks to it, and whether it lives on when
/// its starter ends.
///
/// The calling process is of no use for anything else afterwards: its children are born in the container.
///
/// # Errors
/// Of the step that failed; `ESRCH` or `ENOMEM` when the container ends meanwhile.
pub fn start(init: &PidFd, cgroup: &Cgroup, process: &Process, voice: Voice<'_>) -> Result<Joined, Failure> {
    let (clone_target, procs_files) = (cgroup.clone_target()?, cgroup.procs_files()?);
    let (ours, theirs) = UnixStream::pair().or_cannot("make", "a pair of sockets")?;
    let streams = match voice {
        Voice::Callers(stdio) => Streams::Callers(stdio),
        Voice::Terminal(size) => Streams::Terminal { to: &theirs, size },
        Voice::Log(output) | Voice::Output(output) => Streams::Output(output),
    };
    let chroot = if process.confinement.is_chroot() { Some(root::of_running(init)?) } else { None };
    be_unreadable()?;
    namespace::join(init, &[Kind::Pid])?;
    let membership = Membership { clone_target: clone_target.as_ref().map(File::as_fd), ..Membership::default() };
    let birth = Birth { namespaces: &[], cgroup: membership };
    let way_in = WayIn { init, procs_files: &procs_files, chroot: chroot.as_ref() };
    let mut child = spawn(birth, |report| {
        if matches!(voice, Voice::Log(_)) {
            report.outlive_parent()?;
        }
        become_part(&way_in, process, &streams, report).map(|never| match never {})
    })?;
    drop(theirs);
    child.ready()?;
    let terminal = match voice {
        Voice::Terminal(_) => terminal::receive(&ours)?,
        Voice::Callers(_) | Voice::Log(_) | Voice::Output(_) => None,
    };
    child.gone().map_err(Failure::of_command)?;
    Ok(Joined { child, terminal })
}

/// # Lesson 3.b (8 marks): let a newborn process join a container
///
/// The caller was born in the container's PID namespace already, because its parent said so before the fork (lesson
/// 1.b). What is left are the cgroup, by `way_in.procs_files`, and the namespaces of [`REST`], through the descriptor
/// `way_in.init` of the first process: one setns(2) joins them all or none. The cgroup comes first: from then on,
/// whatever ends the container ends this process too. The mount namespace brings its own root and working directory
/// with it, so no chroot is needed; only the container of `--weak chroot` has a `way_in.chroot`, to be entered now.
/// Then open `/`, which is the container's, connect the streams with it, and go the stretch that `run` goes as well: a
/// second road into a container would be the weaker one some day (CVE-2022-29162).
///
/// See setns(2), nsenter(1), cgroup_namespaces(7).
///
/// You may want: [`join_cgroup`], [`namespace::join`], [`weak::enter`], [`connect`], [`confine::become_command`]
fn become_part(
    way_in: &WayIn<'_>,
    process: &Process,
    streams: &Streams<'_>,
    report: &mut Report,
) -> Result<Infallible> {
    join_cgroup(way_in.procs_files)?;
    namespace::join(way_in.init, &REST)?;
    if let Some(root) = way_in.chroot {
        weak::enter(root)?;
    }
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let terminal = connect(streams, root.or_cannot("open", "/")?.as_fd())?;
    confine::become_command(process, terminal, report)
}

/// Has a child do `work` in the container, as confined as a command there and without becoming one. It has a view of the
/// mounts of its own, so what it mounts or unmounts is gone with it; its exit code is what `work` returns.
///
/// Like after [`start`], the calling process is of no use for anything else.
///
/// # Errors
/// Of the step that failed; `ESRCH` or `ENOMEM` when the container ends meanwhile.
pub fn visit(init: &PidFd, cgroup: &Cgroup, process: &Process, work: impl FnOnce() -> i32) -> Result<Child> {
    let (clone_target, procs_files) = (cgroup.clone_target()?, cgroup.procs_files()?);
    let chroot = if process.confinement.is_chroot() { Some(root::of_running(init)?) } else { None };
    be_unreadable()?;
    namespace::join(init, &[Kind::Pid])?;
    let membership = Membership { clone_target: clone_target.as_ref().map(File::as_fd), ..Membership::default() };
    let birth = Birth { namespaces: &[], cgroup: membership };
    let mut child = spawn(birth, |report| {
        join_cgroup(&procs_files)?;
        namespace::join(init, &REST)?;
        if let Some(root) = &chroot {
            weak::enter(root)?;
        }
        namespace::unshare(&[Kind::Mount])?;
        let confined = confine::confine(process, None)?;
        report.ready()?;
        confined.load_filter()?;
        Ok(work())
    })?;
    child.ready()?;
    Ok(child)
}
