//! The last part of entering a container, shared by `run`, `exec` and `RUN`.
//!
//! Two implementations would diverge, and the weaker one would be the way out (as in CVE-2022-29162). From here on the
//! process drops its privileges, in an order in which each step still permits the next, and ends by executing the
//! command.
//!
//! Look: `grep -E 'Cap|NoNewPrivs|Seccomp' /proc/self/status` by run and by exec. Manual: capabilities(7), seccomp(2),
//! keyrings(7), prctl(2).

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Gid, Uid, access, fchdir, fchown, getcwd, setgroups, setresgid, setresuid};
use nsutil::capability;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::{Report, exec};
use nsutil::seccomp::Filter;
use nsutil::{reaper, step, sys};
use rustix::fs::{CWD, OFlags, ResolveFlags};

use crate::container::plan::Process;
use crate::spec::user::Credentials;

/// Drops privileges, reports ready to the parent, and executes the command.
///
/// The caller is in the container's namespaces, with its streams connected; `terminal` is its terminal, if it has one.
/// An error before it is ready is conductor's; a later one is the command's: not found, or not executable.
///
/// # Errors
/// Of the step that failed.
pub fn become_command(process: &Process, terminal: Option<OwnedFd>, report: &mut Report) -> Result<Infallible> {
    let confined = confine(process, terminal)?;
    let load = || confined.load_filter();
    let go = || {
        load()?;
        execute(process, &confined.credentials)
    };
    if process.has_reaper {
        return reaper::run_under_reaper(|_| go(), || report.ready(), load);
    }
    report.ready()?;
    go()
}

/// A process with dropped privileges, before loading the seccomp filter.
#[derive(Debug)]
pub struct Confined {
    credentials: Credentials,
    /// None in a privileged container.
    filter: Option<Filter>,
}

/// Drops all privileges except the system calls that [`Confined::load_filter`] blocks.
///
/// # Errors
/// Of the step that failed.
pub fn confine(process: &Process, terminal: Option<OwnedFd>) -> Result<Confined> {
    let confinement = process.confinement;
    leave_keyring()?;
    umask(Mode::from_bits_truncate(0o022));
    let credentials = credentials(process)?;
    capability::limit_bounding_set(confinement.capabilities)?;
    if credentials != Credentials::root() {
        become_user(&credentials, terminal.as_ref())?;
    } else {
        setgroups(&[] as &[Gid]).or_cannot("leave", "the caller's groups")?;
    }
    capability::limit_current_sets(confinement.capabilities)?;
    enter(&process.working_directory)?;
    let filter = confinement.is_contained().then(|| Filter::for_capabilities(confinement.capabilities));
    if filter.is_some() {
        step!("no_new_privs", call: "prctl(PR_SET_NO_NEW_PRIVS, 1)";
            why: "set-user-ID programs and file capabilities cannot restore dropped privileges"; shell: "setpriv --no-new-privs COMMAND");
        prctl::set_no_new_privs().or_cannot("set", "no_new_privs")?;
    }
    Ok(Confined { credentials, filter })
}

impl Confined {
    /// Loads the seccomp filter, as the last step.
    ///
    /// # Errors
    /// In words when the kernel does not support filters.
    pub fn load_filter(&self) -> Result<()> {
        self.filter.as_ref().map_or(Ok(()), Filter::load)
    }
}

fn execute(process: &Process, credentials: &Credentials) -> Result<Infallible> {
    let program = find(process)?;
    let arguments: Vec<&str> = process.command.iter().map(String::as_str).collect();
    let home = Some(("HOME", credentials.home.as_str())).filter(|(home, _)| !process.environment.contains_key(*home));
    let said = process.environment.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let environment: Vec<String> = said.chain(home).map(|(key, value)| format!("{key}={value}")).collect();
    let environment: Vec<&str> = environment.iter().map(String::as_str).collect();
    exec(&program, &arguments, &environment)
}

/// The command's credentials. Names are looked up in the container's files, now that / is its root.
fn credentials(process: &Process) -> Result<Credentials> {
    let Some(user) = &process.user else { return Ok(Credentials::root()) };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    Credentials::of(user, root.or_cannot("open", "/")?.as_fd())
}

/// Changes user and groups. A change from root to another user also drops all capabilities.
fn become_user(Credentials { user, group, groups, .. }: &Credentials, terminal: Option<&OwnedFd>) -> Result<()> {
    step!("setresuid", call: "setgroups({groups:?}); setresgid({group}); setresuid({user})";
        why: "the command runs as that user; the groups are set first, while that is still permitted";
        shell: "setpriv --reuid={user} --regid={group} --clear-groups COMMAND");
    // The kernel clears the parent-death signal when the user changes; it must still be killed with its parent.
    let at_parents_end = prctl::get_pdeathsig().or_cannot("ask for", "the signal at the parent's end")?;
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).or_cannot("leave", "the caller's groups")?;
    let (gid, uid) = (Gid::from_raw(*group), Uid::from_raw(*user));
    if let Some(terminal) = terminal {
        // As login(1) does, so that the user can open it by name, as screen does.
        fchown(terminal, Some(uid), None).or_cannot("hand over", "the terminal")?;
    }
    give_pipes_to(uid);
    setresgid(gid, gid, gid).or_cannot("become", format_args!("group {group}"))?;
    setresuid(uid, uid, uid).or_cannot("become", format_args!("user {user}"))?;
    prctl::set_pdeathsig(at_parents_end).or_cannot("ask for a signal at", "the parent's end")
}

/// Gives pipes behind stdin, stdout and stderr to the user, so that it can open /dev/stdin and the like: opening checks
/// permissions, writing to an open pipe does not. Named pipes belong to the caller and are left alone.
fn give_pipes_to(user: Uid) {
    /// Of statfs(2).
    const PIPE: i64 = 0x5049_5045;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if rustix::fs::fstatfs(stream).is_ok_and(|about| about.f_type == PIPE) {
            // If the pipe belongs to another user, it can be written to all the same.
            let _ = fchown(stream, Some(user), None);
        }
    }
}

/// Leaves the caller's session keyring, whose keys would be visible inside.
fn leave_keyring() -> Result<()> {
    step!("keyring", call: "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)";
        why: "the caller's keys are not visible in the container"; shell: "keyctl session - COMMAND");
    match sys::join_new_session_keyring() {
        // A kernel without keys.
        Err(Errno::ENOSYS) => Ok(()),
        joined => joined.or_cannot("begin", "a session keyring"),
    }
}

/// Changes to the working directory, which must be in the container.
fn enter(directory: &str) -> Result<()> {
    // A magic link (/proc/self/fd/N) can lead out of the root (CVE-2024-21626).
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, directory, flags, rustix::fs::Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .or_cannot("enter working directory", directory)?;
    fchdir(&found).or_cannot("enter working directory", directory)?;
    // getcwd reports a folder outside of the root as "(unreachable)", which getcwd(3) rejects.
    match getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Error::new("enter working directory", directory, "it is not below the container's root")),
    }
}

/// The path of the program: as given if it contains `/`, otherwise looked up in `PATH`. See execvp(3).
fn find(process: &Process) -> Result<PathBuf> {
    let program = process.program();
    if program.is_empty() {
        return Err(Errno::ENOENT).or_cannot("execute", "a command without a name");
    }
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let path = process.environment.get("PATH").map_or("", String::as_str);
    let mut refused = None;
    for place in path.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(program)) {
        if !place.is_file() {
            continue;
        }
        match access(&place, AccessFlags::X_OK) {
            Ok(()) => return Ok(place),
            Err(errno) => refused = Some((place, errno)),
        }
    }
    match refused {
        Some((place, errno)) => Err(errno).or_cannot("execute", place.display()),
        None => Err(Errno::ENOENT)
            .or_cannot("find", program)
            .map_err(|error: Error| error.hint(format_args!("it is not in the container's PATH, {path}"))),
    }
}
