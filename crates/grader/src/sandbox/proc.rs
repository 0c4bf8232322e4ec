//! The state of a process at this moment, read from `/proc`.
//!
//! `/proc/PID` answers most of it: a link in `ns/` names a namespace by its inode, `NSpid` in `status` lists the process
//! id in every PID namespace around it, `root` and `cwd` are the directories themselves. Only the host name has no file
//! that can be read from outside: one has to be in the UTS namespace, and a thread can be, for as long as it lives.
//! Look: `ls -l /proc/PID/ns`, `grep NSpid /proc/PID/status`. Manual: proc(5), namespaces(7).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};

use super::Cgroups;
use crate::record::{FileId, Namespaces, Pid, ProcessState};

/// The state of `pid`, which may be a thread; `None` when it is gone.
///
/// A zombie has ids and a parent, and nothing else any more. On its way there it has left its cgroups already: a v1
/// hierarchy then names its root, which is not where the process ran, so nothing is said instead.
pub fn state(pid: Pid, cgroups: &Cgroups) -> Option<ProcessState> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |key: &str| -> Vec<Pid> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or("").split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let (root, cwd) = (fs::read_link(format!("/proc/{pid}/root")).ok(), fs::read_link(format!("/proc/{pid}/cwd")).ok());
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let is_leaving = stat(pid).is_none_or(|stat| stat.exiting);
    let below_root = |path: Option<std::path::PathBuf>| below(root.as_deref()?, &path?);
    Some(ProcessState {
        inner_pids: numbers("NStgid"),
        thread: (numbers("Tgid").first() != Some(&pid)).then_some(pid),
        parent: numbers("PPid").first().copied().unwrap_or(0),
        namespaces: namespaces(pid),
        hostname: hostname(pid).unwrap_or_default(),
        root: file_id(&format!("/proc/{pid}/root")).unwrap_or_default(),
        exe: below_root(fs::read_link(format!("/proc/{pid}/exe")).ok()),
        cwd: below_root(cwd),
        cgroups: if is_leaving { BTreeMap::new() } else { cgroups.inside(&cgroup) },
    })
}

/// The process that thread `tid` belongs to.
pub fn process_of(tid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// The namespaces of `pid`, by kind.
pub fn namespaces(pid: Pid) -> Namespaces {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/ns")) else { return Namespaces::new() };
    let inode = |entry: fs::DirEntry| {
        // `uts:[4026531838]`
        let link = fs::read_link(entry.path()).ok()?;
        let number = link.to_str()?.split_once(":[")?.1.strip_suffix(']')?.parse().ok()?;
        Some((entry.file_name().into_string().ok()?, number))
    };
    entries.flatten().filter_map(inode).filter(|(kind, _)| kind != "time_for_children").collect()
}

/// The host name in the UTS namespace of `pid`.
pub fn hostname(pid: Pid) -> Option<String> {
    let uts = File::open(format!("/proc/{pid}/ns/uts")).ok()?;
    in_namespaces(uts.as_fd(), CloneFlags::CLONE_NEWUTS, own_hostname)
}

/// The host name of the calling thread's UTS namespace.
pub fn own_hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Runs `look` in the namespaces of `kinds` that `which` (a namespace or a pidfd) leads to.
///
/// Entering is a thread's whole life: it never has to come back.
pub fn in_namespaces<T: Send>(
    which: std::os::fd::BorrowedFd<'_>,
    kinds: CloneFlags,
    look: impl FnOnce() -> T + Send,
) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(|| setns(which, kinds).ok().map(|()| look())).join().ok().flatten())
}

/// The arguments of `pid`.
pub fn argv(pid: Pid) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(&bytes)).into_owned();
    if text.is_empty() { Vec::new() } else { text.split('\0').map(str::to_owned).collect() }
}

/// A few numbers of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `T`, `t`, `Z`.
    pub state: char,
    /// The parent.
    pub parent: Pid,
    /// Its session.
    pub session: Pid,
    /// It has begun to end (`PF_EXITING` of its flags).
    pub exiting: bool,
    /// CPU time used, its own, in user and kernel mode.
    pub cpu: Duration,
}

/// The flag of a process that is on its way out.
const PF_EXITING: u64 = 0x4;

/// Reads `/proc/PID/stat`.
pub fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold blanks and brackets; the fields count from behind the last one.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // USER_HZ is 100 on every architecture that Debian has.
    let cpu = Duration::from_millis(ticks * 10);
    let flags: u64 = fields.get(6)?.parse().ok()?;
    let (state, parent) = (fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?);
    let session = fields.get(3)?.parse().ok()?;
    Some(Stat { state, parent, session, exiting: flags & PF_EXITING != 0, cpu })
}

/// A system call that a thread is blocked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockedCall {
    /// Its number.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The call that `tid` sleeps in; `None` when it runs, or sleeps in no call.
pub fn blocked_call(tid: Pid) -> Option<BlockedCall> {
    parse_call(&fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?)
}

/// `1 0x1 0x7ffe… 0x5 0x0 0x0 0x0 SP PC`, `-1 SP PC` or `running`.
fn parse_call(text: &str) -> Option<BlockedCall> {
    let mut words = text.split_whitespace();
    let nr = words.next()?.parse().ok().filter(|nr| *nr >= 0)?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(BlockedCall { nr, args })
}

/// The threads of `pid`.
pub fn threads(pid: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// All descendants of `init` with their states: the processes of the box, in whatever PID namespace, zombies included.
pub fn descendants(init: Pid) -> Vec<(Pid, char)> {
    let mut children: BTreeMap<Pid, Vec<(Pid, char)>> = BTreeMap::new();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in names.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok()) {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push((pid, stat.state));
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![init]);
    while let Some(parent) = next.pop() {
        let made = children.remove(&parent).unwrap_or_default();
        next.extend(made.iter().map(|(pid, _)| *pid));
        found.extend(made);
    }
    found.sort_unstable();
    found
}

/// The names of the links in the calling thread's network namespace, sorted.
pub fn own_links() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let names = text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Which file a path leads to.
pub fn file_id(path: &str) -> Option<FileId> {
    let meta = fs::metadata(path).ok()?;
    Some(FileId { dev: meta.dev(), ino: meta.ino() })
}

/// Up to `length` bytes of the memory of `pid`, as far as it can be read.
pub fn memory(pid: Pid, address: u64, length: usize) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let Some(base) = usize::try_from(address).ok().and_then(|a| a.checked_add(bytes.len())) else { break };
        // One page at a time: what lies behind may not be mapped.
        let mut page = vec![0; (PAGE - base % PAGE).min(length - bytes.len())];
        let remote = [RemoteIoVec { base, len: page.len() }];
        let got =
            process_vm_readv(nix::unistd::Pid::from_raw(pid), &mut [IoSliceMut::new(&mut page)], &remote).unwrap_or(0);
        bytes.extend_from_slice(page.get(..got).unwrap_or_default());
        if got < page.len() {
            break;
        }
    }
    bytes
}

/// A C string in the memory of `pid`.
pub fn c_string(pid: Pid, address: u64) -> String {
    if address == 0 {
        return "NULL".to_owned();
    }
    let mut bytes = Vec::new();
    // Almost all are short; a path is at most PATH_MAX long.
    for length in [256, 4096] {
        bytes = memory(pid, address, length);
        if bytes.contains(&0) {
            break;
        }
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// `path` as seen by a process whose root is `root`; `None` when it is not below it.
fn below(root: &Path, path: &Path) -> Option<String> {
    let rest = path.strip_prefix(root).ok()?;
    Some(format!("/{}", rest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_outside_the_root_has_no_name_inside() {
        assert_eq!(below(Path::new("/a/root"), Path::new("/a/root/bin/sh")).as_deref(), Some("/bin/sh"));
        assert_eq!(below(Path::new("/a/root"), Path::new("/a/root")).as_deref(), Some("/"));
        assert_eq!(below(Path::new("/a/root"), Path::new("/a/rootless")), None);
    }

    #[test]
    fn a_running_or_idle_thread_is_blocked_in_no_call() {
        assert_eq!(parse_call("running\n"), None);
        assert_eq!(parse_call("-1 0x7ffc 0x401000\n"), None);
        let call = parse_call("1 0x1 0x55d0 0x29 0x0 0x0 0x0 0x7ffc 0x7f1a\n").unwrap();
        assert_eq!((call.nr, &call.args[..3]), (1, &[1, 0x55d0, 0x29][..]));
    }

    #[test]
    fn our_own_state_and_memory_are_read_as_they_are() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let secret = *b"written here";
        assert_eq!(memory(pid, secret.as_ptr() as u64, secret.len()), secret);
        assert_eq!(c_string(pid, c"a name".as_ptr() as u64), "a name");
        assert_eq!(hostname(pid).unwrap_or(own_hostname()), own_hostname());
        assert_eq!(
            stat(pid).map(|stat| stat.parent),
            Some(i32::try_from(std::os::unix::process::parent_id()).unwrap())
        );
    }
}
