//! The last stretch into a container: one road, for `run`, `exec` and `RUN` alike.
//!
//! Two roads would differ one day, and the weaker one would be the way in (CVE-2022-29162 was such a day). From here on
//! the process loses what it does not need, in an order that each step still allows the next, and ends as the command.
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

/// Gives up everything that the command must not have, tells the parent that it is ready, and becomes the command.
///
/// The caller stands in the container's namespaces, with its streams connected; `terminal` is its own, if it has one. An error before it is ready is ours;
/// one after that is the command's: it is not there, or cannot be executed.
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

/// A process that has given up all but the calls that its filter will shut.
#[derive(Debug)]
pub struct Confined {
    credentials: Credentials,
    /// None in a container that nothing is kept from.
    filter: Option<Filter>,
}

/// Gives up everything that the process must not have, apart from the calls that [`Confined::load_filter`] shuts.
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
            why: "no set-user-ID program can give back what was given up"; shell: "setpriv --no-new-privs COMMAND");
        prctl::set_no_new_privs().or_cannot("renounce", "new privileges")?;
    }
    Ok(Confined { credentials, filter })
}

impl Confined {
    /// Shuts the calls that are left, as the last thing of all.
    ///
    /// # Errors
    /// In words when the kernel has no filters.
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

/// Who the command runs as. Names are looked up in the container's files, now that / is its root.
fn credentials(process: &Process) -> Result<Credentials> {
    let Some(user) = &process.user else { return Ok(Credentials::root()) };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    Credentials::of(user, root.or_cannot("open", "/")?.as_fd())
}

/// Becomes that user, in those groups and none of the caller's. From root to another it loses all capabilities with it.
fn become_user(Credentials { user, group, groups, .. }: &Credentials, terminal: Option<&OwnedFd>) -> Result<()> {
    step!("setresuid", call: "setgroups({groups:?}); setresgid({group}); setresuid({user})";
        why: "the command runs as that user; the groups first, while that is still allowed";
        shell: "setpriv --reuid={user} --regid={group} --clear-groups COMMAND");
    // The kernel forgets it when the user changes: whoever watches over us would be gone unnoticed.
    let at_parents_end = prctl::get_pdeathsig().or_cannot("ask for", "the signal at the parent's end")?;
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).or_cannot("leave", "the caller's groups")?;
    let (gid, uid) = (Gid::from_raw(*group), Uid::from_raw(*user));
    if let Some(terminal) = terminal {
        // As login(1) does: or its user could not open it by name, as screen and others do.
        fchown(terminal, Some(uid), None).or_cannot("hand over", "the terminal")?;
    }
    give_pipes_to(uid);
    setresgid(gid, gid, gid).or_cannot("become", format_args!("group {group}"))?;
    setresuid(uid, uid, uid).or_cannot("become", format_args!("user {user}"))?;
    prctl::set_pdeathsig(at_parents_end).or_cannot("ask for a signal at", "the parent's end")
}

/// Lets the user open /dev/stdin, /dev/stdout and /dev/stderr, where these are pipes: opening one asks for rights, which
/// writing to it does not. A pipe with a name is a file of the caller's, and stays as it is.
fn give_pipes_to(user: Uid) {
    /// Of statfs(2).
    const PIPE: i64 = 0x5049_5045;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if rustix::fs::fstatfs(stream).is_ok_and(|about| about.f_type == PIPE) {
            // What the caller has may be another's; then it can be written to all the same.
            let _ = fchown(stream, Some(user), None);
        }
    }
}

/// Leaves the caller's session keyring, whose keys would be seen inside.
fn leave_keyring() -> Result<()> {
    step!("keyring", call: "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)";
        why: "keys that the caller holds stay with the caller"; shell: "keyctl session - COMMAND");
    match sys::join_new_session_keyring() {
        // A kernel without keys.
        Err(Errno::ENOSYS) => Ok(()),
        joined => joined.or_cannot("begin", "a session keyring"),
    }
}

/// Enters the working directory, which must be a place in the container.
fn enter(directory: &str) -> Result<()> {
    // A magic link (/proc/self/fd/N) can lead out of the root (CVE-2024-21626).
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, directory, flags, rustix::fs::Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .or_cannot("enter working directory", directory)?;
    fchdir(&found).or_cannot("enter working directory", directory)?;
    // The kernel's own word: a folder that is not below the root is "(unreachable)", which getcwd(3) refuses.
    match getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Error::new("enter working directory", directory, "it is not below the container's root")),
    }
}

/// Where the program is: itself when it is a path, else the first in `PATH` that can be executed. See execvp(3).
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
            .map_err(|error: Error| error.hint(format_args!("the container has no such program in its PATH, {path}"))),
    }
}
