//! The end of a container: its processes, then every change of the host, then its folder.
//!
//! Its first process is asked to end, if it can hear: for process 1 of a PID namespace the kernel drops signals that
//! have no handler, and waiting ten seconds for nothing helps nobody. Then everything in its cgroup is killed at once,
//! and the ledger is read backwards. The record goes last, so that an end that was broken off can be begun again.
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

/// Asks the first process to end, and kills it when it does not within such a time.
///
/// Returns why it had to be killed without being asked, if so.
///
/// # Errors
/// `EBUSY` when it does not even go then: it hangs in the kernel.
pub fn terminate_init(init: &PidFd, patience: Duration) -> Result<Option<String>> {
    let is_asked = accepts_signal(init, SignalNumber::of(Signal::SIGTERM));
    if is_asked {
        let asked = init.signal(Signal::SIGTERM);
        if has_exited(asked)? || init.ends_within(patience)? {
            return Ok(None);
        }
    }
    kill_init(init)?;
    let why = "its first process has no handler for SIGTERM, and for process 1 the kernel then drops the signal";
    Ok((!is_asked).then(|| why.to_owned()))
}

/// Kills it, and waits until it has gone.
///
/// # Errors
/// `EBUSY` when it does not go: it hangs in the kernel.
pub fn kill_init(init: &PidFd) -> Result<()> {
    if has_exited(init.signal(Signal::SIGKILL))? || init.ends_within(KILL_TIMEOUT)? {
        return Ok(());
    }
    Err(Error::new("end", format_args!("process {}", init.pid()), Errno::EBUSY)
        .hint("it hangs in the kernel (see its state with ps): try again when what it waits for is back"))
}

const KILL_TIMEOUT: Duration = Duration::from_secs(5);

fn has_exited(sent: Result<()>) -> Result<bool> {
    match sent {
        Ok(()) => Ok(false),
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Takes back everything that a container holds, by its ledger, and removes its folder.
///
/// It may be running, ended, half started or half removed. What is gone already is nothing to do.
///
/// # Errors
/// All that failed, in one; the container is still there then, and it can be tried again.
pub fn tear_down(store: &Store, name: &ContainerName, lock: Lock) -> Result<()> {
    let dir = store.container_dir(name);
    let ledger = Ledger::of(&dir);
    // Before all else its processes: they hold the rest. The cgroup knows them all, also when there is no record.
    let processes = cgroup::of(&store.tag(name)).and_then(|cgroup| cgroup.remove());
    let network = network::detach(store, name);
    // Its root is where it always is, whatever has become of the ledger.
    let (host, root) = (ledger.undo(undo), detach_all(&dir.join("rootfs")));
    Error::all("take back", "a container", [processes, network, host, root])?;
    remove_folder(&dir)?;
    drop(lock);
    Ok(())
}

/// Takes back what killed commands have left: folders without a record that nobody works on. Where that fails it is told,
/// and no reason to leave what was asked for undone.
///
/// # Errors
/// When the folder of containers cannot be read.
pub fn clear_leftovers(store: &Store) -> Result<()> {
    for (name, lock) in store.leftovers()? {
        if let Err(error) = tear_down(store, &name, lock) {
            remark(format_args!("cannot remove what is left of container {name} yet: {}", line(&error)));
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
        // With the rest of the network, which knows about peers and about who else needs a sysctl.
        Change::Link(_) | Change::Chain { .. } | Change::Peer(_) | Change::Sysctl { .. } | Change::NetworkGivenBack => {
            Ok(())
        }
    }
}

/// Removes the folder, the record first: from then on it is a leftover and no container any more.
///
/// What is below a mount is never touched: it might be the user's own.
fn remove_folder(dir: &Path) -> Result<()> {
    if let Some(mount) = mounted_below(dir)? {
        return Err(Error::new("remove", dir.display(), format!("something is mounted there: {mount}")));
    }
    for path in [dir.join(crate::store::record::FILE), dir.join("ledger")] {
        step!("forget", call: "unlink(\"{}\")", path.display();
            why: "nothing of the host's is left to give back: what remains is files"; shell: "rm {}", path.display());
        match fs::remove_file(&path) {
            // A folder in its place is not ours, and goes with the rest.
            Err(error) if ![ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind()) => {
                return Err(Error::new("remove", path.display(), error));
            }
            _ => (),
        }
    }
    step!("folder.remove", call: "unlink …; rmdir(\"{}\")", dir.display();
        why: "what the container wrote goes with it"; shell: "rm -r --one-file-system {}", dir.display());
    remove_tree(dir)
}

/// What is mounted somewhere below a folder, as proc_pid_mounts(5) lists it.
fn mounted_below(dir: &Path) -> Result<Option<String>> {
    let mounts = fs::read("/proc/self/mounts").or_cannot("read", "/proc/self/mounts")?;
    // By the way that the kernel knows, without links, and with the characters hidden that part its columns.
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
