//! The container side of creating a container: what its first process does before it executes the command.
//!
//! It starts in new namespaces but still sees the host's files. Read from top to bottom, it replaces the host's root by
//! the container's, mounts what programs expect there, and drops privileges. It can only succeed by exec: hence
//! `Infallible`.
//!
//! Look: `conductor run --explain IMAGE NAME -- true`. Manual: pivot_root(2), mount_namespaces(7).

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::umask;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use nsutil::error::{OrCannot, Result};
use nsutil::mount;
use nsutil::mount::detached::{Attributes, Detached, Filesystem, mount_point, restrict};
use nsutil::namespace::{self, Kind};
use nsutil::process::{Report, join_cgroup};
use nsutil::rooted::Root;
use nsutil::step;
use nsutil::syscall::sethostname;
use nsutil::terminal::{self, Pty, Size};
use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};

use super::cgroup::limit_processes_of_namespace;
use super::relay::ReplacedStdio;
use super::{confine, devices, loopback, masks, volumes};
use crate::container::plan::Process;
use crate::hosts_file;
use crate::spec::confinement::Confinement;
use crate::spec::hostname::Hostname;
use crate::spec::resources::ResourceLimits;
use crate::spec::volume::Volume;

/// Namespaces created by clone3. The cgroup namespace is created later: see [`become_container`].
pub const CLONE_NAMESPACES: [Kind; 5] = [Kind::Uts, Kind::Pid, Kind::Net, Kind::Mount, Kind::Ipc];

/// Settings of the first process of a container.
#[derive(Debug)]
pub struct InitSpec<'a> {
    /// Its folder on the host, with its root and its private files.
    pub directory: &'a Path,
    /// Its own host name; none is the host's.
    pub hostname: Option<&'a Hostname>,
    /// The v1 `cgroup.procs` files to write itself to.
    pub procs_files: &'a [File],
    /// Limits that its PID namespace has to enforce, because its cgroup cannot.
    pub pid_namespace_limits: Option<&'a ResourceLimits>,
    /// Whether it has its own network, which is to be set up, or the host's.
    pub has_own_network: bool,
    /// What of the host's files is seen in it.
    pub volumes: &'a [Volume],
    /// Whether its root cannot be written to.
    pub read_only: bool,
    /// What it becomes.
    pub process: &'a Process,
    /// How its streams are connected.
    pub streams: Streams<'a>,
    /// Whether it keeps running when its parent dies.
    pub outlives_parent: bool,
}

/// How stdin, stdout and stderr of a process in a container are connected.
#[derive(Debug, Clone, Copy)]
pub enum Streams<'a> {
    /// The caller's streams, except those that are replaced.
    Inherit(&'a ReplacedStdio),
    /// A terminal of the container, whose master is sent over this socket.
    Terminal {
        /// To the caller.
        to: &'a UnixStream,
        /// Its size from the first moment.
        size: Option<Size>,
    },
    /// No input, and this descriptor for both outputs.
    Output(BorrowedFd<'a>),
}

/// # Lesson 3.a (12 marks): make the container around its first process, which then becomes the command
///
/// The caller was just born, in the namespaces of [`CLONE_NAMESPACES`], and still sees the host's files. Everything it has to
/// do is there as a function; the lesson is the order, for each step shuts a door that an earlier one went through:
///
/// 1. Set the umask to 0: what is made here has the mode that it is made with. Join the cgroup, and only then unshare the
///    cgroup namespace: a view of the tree begins where the caller stands.
/// 2. Set the host name, if it has one; make all mounts private. Before that, a mount made here could appear on the
///    host.
/// 3. Get hold of what lies on the host's side of the wall (a second mount of the container's own hosts and
///    resolv.conf, [`hosts_file::FILES`] in `inside.directory`, read-only if `inside.read_only`; volumes; and for a
///    privileged one the host's devices), and enter the root, `rootfs` in that folder. From here on no path leads to a
///    file of the host's. Open the new `/`: what is still to be done in the root is done below that descriptor.
/// 4. Mount /proc, /sys and the cgroups, from inside the new namespaces: /proc shows the processes of whoever mounts
///    it. If there are `pid_namespace_limits`, apply them. Provide /dev. If the network is its own (it is the host's
///    for a `RUN` line), switch `lo` on, let everybody ping, and open the low ports. *Last* mask and protect: what is read-only cannot be
///    set up any more. Then cover hosts and resolv.conf, and attach the volumes on top: these are what the user asked
///    for.
/// 5. Connect the streams, and if that gives a terminal provide the console; only now can the root be made unwritable,
///    if that is wished. If it is to outlive its parent, tell `report` so; and go the stretch that `exec` goes as well:
///    [`confine::become_command`].
///
/// See pivot_root(2), mount_namespaces(7), pid_namespaces(7), cgroup_namespaces(7).
///
/// Checks: run.uts run.pid run.net run.mnt run.ipc run.root run.mounts run.usable
///
/// You may want: [`umask`], [`namespace::unshare`], [`limit_processes_of_namespace`], [`loopback::switch_on`],
/// [`devices::of_host`], [`devices::mount_dev`], [`devices::mount_console`], [`masks::apply`], [`volumes::prepare`],
/// [`volumes::attach`], [`Report::outlive_parent`], [`sethostname`], [`mount::make_all_private`], [`mount::enter`], and what stands below
///
/// # Errors
/// Of the step that failed.
pub fn become_container(inside: &InitSpec<'_>, report: &mut Report) -> Result<Infallible> {
    let confinement = inside.process.confinement;
    // Files created here have exactly the given mode; the command gets an ordinary umask later.
    umask(nix::sys::stat::Mode::empty());
    join_cgroup(inside.procs_files)?;
    // Unshare the cgroup namespace after joining the cgroup: the caller's cgroup at that moment becomes the namespace's
    // root.
    namespace::unshare(&[Kind::Cgroup])?;
    if let Some(name) = inside.hostname {
        sethostname(name.as_str())?;
    }
    mount::make_all_private()?;
    let private =
        hosts_file::FILES.map(|(file, place)| (clone_mount(&inside.directory.join(file), inside.read_only), place));
    let volumes = volumes::prepare(inside.volumes, confinement)?;
    let host_devices = devices::of_host(confinement)?;
    mount::enter(&inside.directory.join("rootfs"))?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.or_cannot("open", "/")?;
    mount_proc_sys_cgroup(root.as_fd(), confinement)?;
    if let Some(limits) = inside.pid_namespace_limits {
        limit_processes_of_namespace(limits)?;
    }
    devices::mount_dev(root.as_fd(), &host_devices)?;
    if inside.has_own_network {
        loopback::switch_on()?;
        allow_ping()?;
        allow_low_ports()?;
    }
    masks::apply(root.as_fd(), confinement)?;
    for (file, place) in private {
        bind_over(root.as_fd(), Path::new(place), file?)?;
    }
    volumes::attach(root.as_fd(), volumes)?;
    let terminal = connect_streams(&inside.streams, root.as_fd())?;
    if let Some(slave) = &terminal {
        devices::mount_console(root.as_fd(), slave.as_fd())?;
    }
    if inside.read_only {
        make_root_read_only(root.as_fd())?;
    }
    if inside.outlives_parent {
        report.outlive_parent()?;
    }
    confine::become_command(inside.process, terminal, report)
}

/// Starts a new session and connects stdin, stdout and stderr; returns the terminal, if there is one.
///
/// # Errors
/// When no terminal can be opened.
pub fn connect_streams(streams: &Streams<'_>, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    step!("setsid", call: "setsid()";
        why: "detaches from the caller's terminal: the container cannot inject input there, and gets no signal from its Ctrl-C";
        shell: "setsid COMMAND");
    setsid().or_cannot("begin", "a session")?;
    let (stdin, output, slave) = match *streams {
        Streams::Inherit(ReplacedStdio { stdin, stdout, stderr }) => {
            stdin.as_ref().map_or(Ok(()), dup2_stdin).or_cannot("set", "stdin")?;
            stdout.as_ref().map_or(Ok(()), dup2_stdout).or_cannot("set", "stdout")?;
            stderr.as_ref().map_or(Ok(()), dup2_stderr).or_cannot("set", "stderr")?;
            return Ok(None);
        }
        Streams::Output(output) => {
            let null = File::open("/dev/null").or_cannot("open", "/dev/null")?;
            (null, File::from(output.try_clone_to_owned().or_cannot("hand on", "the output")?), None)
        }
        Streams::Terminal { to, size } => {
            let Pty { master, slave } = Pty::new(root, size)?;
            terminal::send_descriptor(master.as_fd(), to)?;
            terminal::set_controlling_terminal(slave.as_fd())?;
            let copy = || slave.try_clone().map(File::from).or_cannot("hand on", "the terminal");
            (copy()?, copy()?, Some(slave))
        }
    };
    dup2_stdin(&stdin).or_cannot("set", "stdin")?;
    dup2_stdout(&output).or_cannot("set", "stdout")?;
    dup2_stderr(&output).or_cannot("set", "stderr")?;
    Ok(slave)
}

/// Mounts /proc, /sys and /sys/fs/cgroup.
fn mount_proc_sys_cgroup(root: BorrowedFd<'_>, confinement: Confinement) -> Result<()> {
    let read_only = Attributes { read_only: confinement.is_contained(), ..Attributes::DATA_ONLY };
    for (path, kind, attributes) in
        [("proc", "proc", Attributes::DATA_ONLY), ("sys", "sysfs", read_only), ("sys/fs/cgroup", "cgroup2", read_only)]
    {
        let path = Path::new(path);
        let place = mount_point(root, path)?;
        Filesystem { kind, options: &[], attributes }.make()?.attach(place.as_fd(), &Path::new("/").join(path))?;
    }
    Ok(())
}

/// Makes the root read-only; mounts on it (/dev, /proc, volumes) keep their modes.
pub fn make_root_read_only(root: BorrowedFd<'_>) -> Result<()> {
    restrict(root, Attributes { read_only: true, ..Attributes::default() }, Path::new("/"))
}

/// Clones the mount of a host file while the host's files are still accessible.
pub(super) fn clone_mount(file: &Path, read_only: bool) -> Result<Detached> {
    let opened = rustix::fs::open(file, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    Detached::of_file(opened.or_cannot("open", file.display())?.as_fd(), file.display().to_string())?
        .restrict(Attributes { read_only, ..Attributes::DATA_ONLY })
}

/// Bind-mounts a file over another, which is created if missing. A symbolic link there is replaced, not followed.
pub(super) fn bind_over(root: BorrowedFd<'_>, place: &Path, file: Detached) -> Result<()> {
    let inside = place.strip_prefix("/").unwrap_or(place);
    let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else { return Ok(()) };
    let folder = mount_point(root, folder)?;
    let found = match Root::without_links(&folder).open(Path::new(name), OFlags::PATH) {
        Err(Errno::ELOOP) => {
            unlinkat(&folder, name, AtFlags::empty()).or_cannot("replace the link", place.display())?;
            None
        }
        Err(Errno::ENOENT) => None,
        found => Some(found.or_cannot("open", place.display())?),
    };
    let found = match found {
        Some(found) => found,
        None => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644)).or_cannot("make", place.display())?
        }
    };
    file.attach(found.as_fd(), place)
}

/// Lets every group send echo requests, so that `ping` needs neither `CAP_NET_RAW` nor a set-user-ID bit. See icmp(7).
fn allow_ping() -> Result<()> {
    const RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";
    step!("sysctl.ping", call: "write(\"{RANGE}\", \"0 2147483647\")";
        why: "ping uses ICMP sockets; raw sockets, which could forge packets, stay forbidden";
        shell: "sysctl -w net.ipv4.ping_group_range='0 2147483647'");
    write_network_sysctl(RANGE, "0 2147483647")
}

/// Lets every user listen on ports below 1024: the container's network is its own. See ip(7).
fn allow_low_ports() -> Result<()> {
    const FIRST: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    step!("sysctl.ports", call: "write(\"{FIRST}\", \"0\")";
        why: "a server that does not run as root lacks CAP_NET_BIND_SERVICE, and does not need it in its own network";
        shell: "sysctl -w net.ipv4.ip_unprivileged_port_start=0");
    write_network_sysctl(FIRST, "0")
}

fn write_network_sysctl(path: &str, value: &str) -> Result<()> {
    match fs::write(path, value) {
        // A kernel without IPv4.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        written => written.or_cannot("write", path),
    }
}
