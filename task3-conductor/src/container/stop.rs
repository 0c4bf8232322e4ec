//! Ends a container: its processes, then every change of the host, then its folder.
//!
//! SIGTERM is sent to its first process if that can receive it: for process 1 of a PID namespace the kernel drops
//! signals without a handler, and then waiting would be pointless. Then everything in its cgroup is killed at once, and
//! the ledger is undone in reverse. The record is removed last, so that an interrupted removal can be repeated.
//!
//! Manual: pid_namespaces(7) "the namespace's init process", cgroups(7), umount(2).

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::mount::detach_all;
use nsutil::process::{PidFd, SignalNumber};
use nsutil::rooted::remove_tree;
use nsutil::step;

use super::cgroup;
use super::disposition::accepts_signal;
use crate::network;
use crate::output::failure::remark;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::{Change, Ledger};
use crate::store::lock::Lock;

/// Sends SIGTERM to the first process, and kills it if it does not exit within `patience`.
///
/// Returns the reason if it was killed without SIGTERM.
///
/// # Errors
/// `EBUSY` when it does not exit even then: it hangs in the kernel.
pub fn terminate_init(init: &PidFd, patience: Duration) -> Result<Option<String>> {
    let is_asked = accepts_signal(init, SignalNumber::of(Signal::SIGTERM));
    if is_asked {
        let asked = init.signal(Signal::SIGTERM);
        if has_exited(asked)? || init.ends_within(patience)? {
            return Ok(None);
        }
    }
    kill_init(init)?;
    let why = "its first process has no handler for SIGTERM, so the kernel drops it (process 1 of a PID namespace)";
    Ok((!is_asked).then(|| why.to_owned()))
}

/// Kills it and waits until it has exited.
///
/// # Errors
/// `EBUSY` when it does not exit: it hangs in the kernel.
pub fn kill_init(init: &PidFd) -> Result<()> {
    if has_exited(init.signal(Signal::SIGKILL))? || init.ends_within(KILL_TIMEOUT)? {
        return Ok(());
    }
    Err(Error::new("end", format_args!("process {}", init.pid()), Errno::EBUSY).hint(
        "it hangs in the kernel (see its state with ps): try again when the device or server it waits for responds",
    ))
}

const KILL_TIMEOUT: Duration = Duration::from_secs(5);

fn has_exited(sent: Result<()>) -> Result<bool> {
    match sent {
        Ok(()) => Ok(false),
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Undoes all changes of the host for a container, by its ledger, and removes its folder.
///
/// It may be running, exited, partly created or partly removed. What does not exist any more is skipped.
///
/// # Errors
/// All failures in one error; the container then still exists, and the removal can be repeated.
pub fn tear_down(store: &Store, name: &ContainerName, lock: Lock) -> Result<()> {
    let dir = store.container_dir(name);
    let ledger = Ledger::of(&dir);
    // Its processes first: they keep other resources in use. The cgroup knows them all, even without a record.
    let processes = cgroup::of(&store.tag(name)).and_then(|cgroup| cgroup.remove());
    let network = network::detach(store, name);
    // The path of its root is known even if the ledger is damaged.
    let (host, root) = (ledger.undo(undo), detach_all(&dir.join("rootfs")));
    Error::all("remove", "the container", [processes, network, host, root])?;
    remove_folder(&dir)?;
    drop(lock);
    Ok(())
}

/// Removes leftovers of killed commands: unlocked folders without a record. Failures are only warnings.
///
/// # Errors
/// When the folder of containers cannot be read.
pub fn clear_leftovers(store: &Store) -> Result<()> {
    for (name, lock) in store.leftovers()? {
        if let Err(error) = tear_down(store, &name, lock) {
            remark(format_args!("cannot remove the leftovers of container {name} yet: {}", line(&error)));
        }
    }
    Ok(())
}

fn undo(change: &Change) -> Result<()> {
    match change {
        Change::Mount(place) => detach_all(place),
        Change::Cgroup(name) => cgroup::of(name)?.remove(),
        Change::Process(identity) => match identity.open()? {
            Some(process) => kill_init(&process),
            None => Ok(()),
        },
        // Undone by network::detach, which knows about peers and shared sysctls.
        Change::Link(_) | Change::Chain { .. } | Change::Peer(_) | Change::Sysctl { .. } | Change::NetworkGivenBack => {
            Ok(())
        }
    }
}

/// Removes the folder, the record first: from then on it is a leftover and not a container.
///
/// Mounts below it are never entered: they might be the user's.
fn remove_folder(dir: &Path) -> Result<()> {
    if let Some(mount) = mounted_below(dir)? {
        return Err(Error::new("remove", dir.display(), format!("something is mounted there: {mount}")));
    }
    for path in [dir.join(crate::store::record::FILE), dir.join("ledger")] {
        step!("forget", call: "unlink(\"{}\")", path.display();
            why: "all changes of the host are undone; only files remain"; shell: "rm {}", path.display());
        match fs::remove_file(&path) {
            // A folder of that name is not ours; it is removed with the rest.
            Err(error) if ![ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind()) => {
                return Err(Error::new("remove", path.display(), error));
            }
            _ => (),
        }
    }
    step!("folder.remove", call: "unlink …; rmdir(\"{}\")", dir.display();
        why: "removes the files the container wrote"; shell: "rm -r --one-file-system {}", dir.display());
    remove_tree(dir)
}

/// A mount below a folder, as listed in proc_pid_mounts(5).
fn mounted_below(dir: &Path) -> Result<Option<String>> {
    let mounts = fs::read("/proc/self/mounts").or_cannot("read", "/proc/self/mounts")?;
    // The canonical path, with special characters escaped as in /proc/mounts.
    let dir = match fs::canonicalize(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.or_cannot("find", dir.display())?,
    };
    let mut below = vec![b' '];
    for byte in dir.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => below.extend(format!("\\{byte:03o}").bytes()),
            byte => below.push(*byte),
        }
    }
    below.push(b'/');
    let found = mounts.split(|byte| *byte == b'\n').find(|line| line.windows(below.len()).any(|part| part == below));
    Ok(found.map(|line| String::from_utf8_lossy(line).into_owned()))
}
