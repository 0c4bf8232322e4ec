//! The host side of creating a container: its overlay, its cgroup, and its first process.
//!
//! Each change is noted in the ledger before it is made. If a step fails, the changes are undone at once; if this
//! process is killed, the next command finds the ledger and undoes them.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nsutil::error::{OrCannot, Result};
use nsutil::mount::overlay::Overlay;
use nsutil::namespace::Kind;
use nsutil::process::{Child, Membership, SpawnOptions, spawn};
use nsutil::step;
use nsutil::terminal::{self, Size};

use super::cgroup::{self, ProcessLimit};
use super::chroot::become_chrooted;
use super::relay::ReplacedStdio;
use super::setup::{CLONE_NAMESPACES, InitSpec, Streams, become_container};
use super::stop;
use crate::container::plan::{Plan, Purpose};
use crate::hosts_file;
use crate::hosts_file::ResolverNetwork;
use crate::output::failure::Failure;
use crate::store::ledger::Change;
use crate::store::lock::Lock;
use crate::store::record::ProcessIdentity;
use crate::store::{Claim, Store};

/// A started container, as its starter sees it.
#[derive(Debug)]
pub struct Started {
    /// Its first process.
    pub init: Child,
    /// The caller's end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// How the container's streams are connected.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// The caller's streams, except those that are replaced.
    Inherit(&'a ReplacedStdio),
    /// A terminal of its own, of this size.
    Terminal(Option<Size>),
    /// No input; output goes here. It keeps running when its starter dies.
    Detached(BorrowedFd<'a>),
    /// No input; output goes here. It is killed when its starter dies.
    Attached(BorrowedFd<'a>),
}

/// Starts the container of a plan whose name is claimed, and records it unless it is for a build.
///
/// # Errors
/// Of the step that failed, and of undoing the others if that failed too; nothing is left then.
pub fn start(store: &Store, plan: &Plan, claim: Claim, output: Output<'_>) -> Result<Started, Failure> {
    start_and_hold(store, plan, claim, output).map(|(started, _)| started)
}

/// The same, and returns the lock: while it is held no other command works on the container or treats it as a leftover.
///
/// # Errors
/// Those of [`start`].
pub fn start_and_hold(
    store: &Store,
    plan: &Plan,
    claim: Claim,
    output: Output<'_>,
) -> Result<(Started, Lock), Failure> {
    match create_and_start(store, plan, &claim, output) {
        Ok(started) => Ok((started, claim.into_lock())),
        Err(failure) => Err(failure.and(stop::tear_down(store, &plan.name, claim.into_lock()))),
    }
}

fn create_and_start(store: &Store, plan: &Plan, claim: &Claim, output: Output<'_>) -> Result<Started, Failure> {
    let (dir, ledger) = (claim.directory(), claim.ledger());
    let root = dir.join("rootfs");
    make_folder(&root)?;
    let (upper, work) = match &plan.purpose {
        Purpose::Use => (dir.join("upper"), dir.join("work")),
        Purpose::Layer { upper, work } => (upper.clone(), work.clone()),
    };
    if plan.purpose == Purpose::Use {
        make_folder(&upper)?;
        make_folder(&work)?;
        make_accessible(&upper)?;
    }
    let hostname = match &plan.hostname {
        Some(name) => name.to_string(),
        None => nix::unistd::gethostname().or_cannot("ask for", "the host name")?.to_string_lossy().into_owned(),
    };
    let has_own_network = plan.purpose == Purpose::Use;
    let network = if has_own_network { ResolverNetwork::Container } else { ResolverNetwork::Host };
    hosts_file::create(dir, &hostname, network, &plan.names)?;
    ledger.note(&Change::Mount(root.clone()))?;
    let layers: Vec<PathBuf> = plan.layers.iter().map(|layer| store.layer_root(layer)).collect();
    let mounted = Overlay { layers: &layers, upper: &upper, work: &work }.mount(&root)?;

    let cgroup_name = store.tag(&plan.name);
    ledger.note(&Change::Cgroup(cgroup_name.clone()))?;
    let (cgroup, process_limit) = cgroup::create(&cgroup_name, &plan.limits)?;
    let (clone_target, procs_files) = (cgroup.clone_target()?, cgroup.procs_files()?);

    let (ours, theirs) = UnixStream::pair().or_cannot("make", "a pair of sockets")?;
    let streams = match output {
        Output::Inherit(stdio) => Streams::Inherit(stdio),
        Output::Terminal(size) => Streams::Terminal { to: &theirs, size },
        Output::Detached(output) | Output::Attached(output) => Streams::Output(output),
    };
    let inside = InitSpec {
        directory: dir,
        hostname: plan.hostname.as_ref(),
        procs_files: &procs_files,
        pid_namespace_limits: (process_limit == ProcessLimit::PidNamespace).then_some(&plan.limits),
        has_own_network,
        volumes: &plan.volumes,
        read_only: plan.read_only,
        process: &plan.process,
        streams,
        outlives_parent: matches!(output, Output::Detached(_)),
    };
    make_undumpable()?;
    let namespaces: Vec<Kind> =
        CLONE_NAMESPACES.into_iter().filter(|kind| has_own_network || *kind != Kind::Net).collect();
    let birth = SpawnOptions {
        namespaces: &namespaces,
        cgroup: Membership { clone_target: clone_target.as_ref().map(File::as_fd), ..Membership::default() },
    };
    let enter = if plan.process.confinement.is_chroot() { become_chrooted } else { become_container };
    let mut init = spawn(birth, |report| enter(&inside, report).map(|never| match never {}))?;
    // Prepares the record while the child sets up.
    let record = plan.record(ProcessIdentity::of(init.pid().as_raw())?, now());
    drop(theirs);
    init.ready()?;
    let terminal = match output {
        Output::Terminal(_) => terminal::receive_descriptor(&ours)?,
        Output::Inherit(_) | Output::Detached(_) | Output::Attached(_) => None,
    };
    init.wait_for_exec().map_err(Failure::of_command)?;
    if plan.purpose == Purpose::Use {
        record.save(dir)?;
    }
    mounted.keep();
    Ok(Started { init, terminal })
}

/// Makes this process and its child undumpable until the exec, so that processes in the container cannot read or trace
/// it (CVE-2016-9962). See `PR_SET_DUMPABLE` in prctl(2).
pub fn make_undumpable() -> Result<()> {
    step!("dumpable", call: "prctl(PR_SET_DUMPABLE, 0)";
        why: "until it has executed the command, no process inside may trace it or access its descriptors";
        shell: "# no command does this");
    nix::sys::prctl::set_dumpable(false).or_cannot("set", "this process undumpable")
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir(path).or_cannot("make the folder", path.display())
}

/// Makes the root accessible for all users of the container: apt and others run as unprivileged ones.
fn make_accessible(upper: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(upper, fs::Permissions::from_mode(0o755)).or_cannot("set the mode of", upper.display())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
