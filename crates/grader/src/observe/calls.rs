//! The system calls of these labs: their numbers, and what their arguments mean.
//!
//! A call arrives in the kernel as a number and six words. What the words are, flags, a path, a pointer to a struct,
//! is only known by the call; and what a pointer points to must be read before the call changes it.
//! Look: `strace -f -e trace=clone,clone3,setns,unshare PROGRAM`. Manual: syscall(2), syscalls(2).

use std::fs;

use crate::record::Pid;
use crate::sandbox::proc::{self, BlockedCall};

/// A call that the traced observer stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number on this architecture.
    pub nr: i64,
    /// Its name in the manual.
    pub name: &'static str,
}

macro_rules! table {
    ($($(#[$only:meta])* $name:ident: $nr:ident),* $(,)?) => {
        [$($(#[$only])* Call { nr: libc::$nr, name: stringify!($name) }),*]
    };
}

/// The calls that are traced.
#[cfg(target_arch = "x86_64")]
pub const TRACED: [Call; 31] = table![
    clone: SYS_clone, clone3: SYS_clone3, fork: SYS_fork, vfork: SYS_vfork, execve: SYS_execve, execveat: SYS_execveat,
    unshare: SYS_unshare, setns: SYS_setns, pidfd_open: SYS_pidfd_open, sethostname: SYS_sethostname,
    chroot: SYS_chroot, pivot_root: SYS_pivot_root, mount: SYS_mount, umount2: SYS_umount2, wait4: SYS_wait4,
    waitid: SYS_waitid, kill: SYS_kill, tgkill: SYS_tgkill, pidfd_send_signal: SYS_pidfd_send_signal,
    write: SYS_write, writev: SYS_writev, nanosleep: SYS_nanosleep, clock_nanosleep: SYS_clock_nanosleep,
    prctl: SYS_prctl, move_mount: SYS_move_mount, pwritev2: SYS_pwritev2, sendfile: SYS_sendfile, splice: SYS_splice,
    tee: SYS_tee, vmsplice: SYS_vmsplice, io_submit: SYS_io_submit,
];
/// The calls that are traced.
#[cfg(not(target_arch = "x86_64"))]
pub const TRACED: [Call; 29] = table![
    clone: SYS_clone, clone3: SYS_clone3, execve: SYS_execve, execveat: SYS_execveat,
    unshare: SYS_unshare, setns: SYS_setns, pidfd_open: SYS_pidfd_open, sethostname: SYS_sethostname,
    chroot: SYS_chroot, pivot_root: SYS_pivot_root, mount: SYS_mount, umount2: SYS_umount2, wait4: SYS_wait4,
    waitid: SYS_waitid, kill: SYS_kill, tgkill: SYS_tgkill, pidfd_send_signal: SYS_pidfd_send_signal,
    write: SYS_write, writev: SYS_writev, nanosleep: SYS_nanosleep, clock_nanosleep: SYS_clock_nanosleep,
    prctl: SYS_prctl, move_mount: SYS_move_mount, pwritev2: SYS_pwritev2, sendfile: SYS_sendfile, splice: SYS_splice,
    tee: SYS_tee, vmsplice: SYS_vmsplice, io_submit: SYS_io_submit,
];

/// The descriptor that a call writes to; none for a call that writes nothing, or whose target its arguments do not tell.
pub fn target(nr: i64, args: &[u64; 6]) -> Option<u64> {
    match nr {
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwritev2 | libc::SYS_sendfile | libc::SYS_vmsplice => {
            Some(args[0])
        }
        libc::SYS_tee => Some(args[1]),
        libc::SYS_splice => Some(args[2]),
        _ => None,
    }
}

/// Whether a call can write to a descriptor that stands in none of its arguments. The box has no io_uring.
pub fn writes_from_a_queue(nr: i64) -> bool {
    nr == libc::SYS_io_submit
}

/// Other calls that a program may be found asleep in.
const BLOCKING: [Call; 13] = table![
    read: SYS_read, readv: SYS_readv, futex: SYS_futex, ppoll: SYS_ppoll, epoll_pwait: SYS_epoll_pwait,
    rt_sigsuspend: SYS_rt_sigsuspend, rt_sigtimedwait: SYS_rt_sigtimedwait, accept4: SYS_accept4, connect: SYS_connect,
    recvfrom: SYS_recvfrom, recvmsg: SYS_recvmsg, flock: SYS_flock, restart_syscall: SYS_restart_syscall,
];
#[cfg(target_arch = "x86_64")]
const BLOCKING_OLD: [Call; 5] =
    table![pause: SYS_pause, poll: SYS_poll, select: SYS_select, epoll_wait: SYS_epoll_wait, accept: SYS_accept];
#[cfg(not(target_arch = "x86_64"))]
const BLOCKING_OLD: [Call; 0] = [];

/// The name of a call.
pub fn name(nr: i64) -> String {
    let known = TRACED.iter().chain(&BLOCKING).chain(&BLOCKING_OLD).find(|call| call.nr == nr);
    known.map_or_else(|| format!("system call {nr}"), |call| call.name.to_owned())
}

/// The call `pid` sleeps in, in words: `wait4 on child 2`.
pub fn blocked(pid: Pid, call: &BlockedCall) -> String {
    let [first, second, ..] = call.args;
    let name = name(call.nr);
    match name.as_str() {
        "wait4" => match first as i32 {
            -1 | 0 => "wait4 on any child".to_owned(),
            child if child < -1 => format!("wait4 on process group {}", child.unsigned_abs()),
            child => format!("wait4 on child {child}"),
        },
        "waitid" => match first {
            1 => format!("waitid on child {second}"),
            _ => "waitid".to_owned(),
        },
        "read" | "write" | "readv" | "writev" | "pwritev2" => format!("{name} on {}", described_fd(pid, first)),
        "flock" => format!("flock on {}", described_fd(pid, first)),
        _ => name,
    }
}

/// What the arguments of the call that `pid` is about to make mean.
pub fn decode(pid: Pid, name: &str, args: &[u64; 6]) -> String {
    let [a, b, c, d, ..] = *args;
    let path = |address| proc::c_string(pid, address);
    match name {
        "clone" => clone_flags(a & !0xff, a & 0xff),
        "clone3" => {
            let words = proc::memory(pid, a, 64);
            let word = |nth: usize| {
                let bytes = words.get(nth * 8..nth * 8 + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u64::from_ne_bytes)
            };
            // struct clone_args: flags is the first member, exit_signal the fifth.
            clone_flags(word(0), word(4))
        }
        "unshare" => clone_flags(a, 0),
        "setns" => format!("{}, {}", described_fd(pid, a), if b == 0 { "0".to_owned() } else { clone_flags(b, 0) }),
        "pidfd_open" | "wait4" => (a as i32).to_string(),
        "kill" => format!("{}, {}", a as i32, signal(b)),
        "tgkill" => format!("{}, {}, {}", a as i32, b as i32, signal(c)),
        "pidfd_send_signal" => format!("{}, {}", described_fd(pid, a), signal(b)),
        "sethostname" => {
            let length = usize::try_from(b).unwrap_or(0).min(64);
            String::from_utf8_lossy(&proc::memory(pid, a, length)).into_owned()
        }
        "chroot" | "umount2" | "execve" => path(a),
        "execveat" => path(b),
        "pivot_root" => format!("{}, {}", path(a), path(b)),
        "mount" => format!("{}, {}, {}, {}", path(a), path(b), path(c), mount_flags(d)),
        "move_mount" => format!("{}, {}", path(b), path(d)),
        "waitid" => format!("{}, {}", id_kind(a), if a == 3 { described_fd(pid, b) } else { (b as i32).to_string() }),
        "nanosleep" => duration(pid, a),
        "clock_nanosleep" => duration(pid, c),
        "prctl" => prctl_option(a),
        _ => String::new(),
    }
}

/// A descriptor of `pid` and the file behind it: `fd 3 (uts:[4026532561])`, `fd 4 (pidfd of 812)`.
pub fn described_fd(pid: Pid, fd: u64) -> String {
    let fd = fd as i32;
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).map(|link| link.to_string_lossy().into_owned());
    match link.as_deref() {
        Err(_) => format!("fd {fd}"),
        // Since 6.9 a pidfd is an inode of a file system of its own, `pidfd:[2812]`.
        Ok(link) if link == "anon_inode:[pidfd]" || link.starts_with("pidfd:") => {
            format!("fd {fd} ({})", pidfd_owner(pid, fd))
        }
        Ok(link) => format!("fd {fd} ({link})"),
    }
}

/// The process that a pidfd stands for, as the box numbers it.
fn pidfd_owner(pid: Pid, fd: i32) -> String {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    // Ours first, then the box's: the number for people.
    let numbers = info.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let owner = numbers.split_whitespace().nth(1).or_else(|| numbers.split_whitespace().next()).unwrap_or("?");
    format!("pidfd of {owner}")
}

const CLONE_FLAGS: [(u64, &str); 22] = [
    (0x0000_0100, "CLONE_VM"),
    (0x0000_0200, "CLONE_FS"),
    (0x0000_0400, "CLONE_FILES"),
    (0x0000_0800, "CLONE_SIGHAND"),
    (0x0000_1000, "CLONE_PIDFD"),
    (0x0000_4000, "CLONE_VFORK"),
    (0x0000_8000, "CLONE_PARENT"),
    (0x0001_0000, "CLONE_THREAD"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0004_0000, "CLONE_SYSVSEM"),
    (0x0008_0000, "CLONE_SETTLS"),
    (0x0010_0000, "CLONE_PARENT_SETTID"),
    (0x0020_0000, "CLONE_CHILD_CLEARTID"),
    (0x0080_0000, "CLONE_UNTRACED"),
    (0x0100_0000, "CLONE_CHILD_SETTID"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
    (0x2_0000_0000, "CLONE_INTO_CGROUP"),
];

fn clone_flags(flags: u64, exit_signal: u64) -> String {
    let mut words = flag_words(flags, &CLONE_FLAGS);
    if exit_signal != 0 {
        words.push(signal(exit_signal));
    }
    if words.is_empty() { "0".to_owned() } else { words.join("|") }
}

fn mount_flags(flags: u64) -> String {
    let known = [
        (1, "MS_RDONLY"),
        (2, "MS_NOSUID"),
        (4, "MS_NODEV"),
        (8, "MS_NOEXEC"),
        (32, "MS_REMOUNT"),
        (4096, "MS_BIND"),
        (8192, "MS_MOVE"),
        (16384, "MS_REC"),
        (1 << 17, "MS_UNBINDABLE"),
        (1 << 18, "MS_PRIVATE"),
        (1 << 19, "MS_SLAVE"),
        (1 << 20, "MS_SHARED"),
    ];
    let words = flag_words(flags, &known);
    if words.is_empty() { "0".to_owned() } else { words.join("|") }
}

/// The names of the bits of `flags`, and what has no name as a number.
fn flag_words(flags: u64, names: &[(u64, &str)]) -> Vec<String> {
    let named = names.iter().filter(|(bit, _)| flags & bit != 0);
    let rest = named.clone().fold(flags, |rest, (bit, _)| rest & !bit);
    let mut words: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    words
}

fn signal(number: u64) -> String {
    let known = i32::try_from(number).ok().and_then(|nr| nix::sys::signal::Signal::try_from(nr).ok());
    known.map_or_else(|| number.to_string(), |signal| signal.as_str().to_owned())
}

fn id_kind(kind: u64) -> &'static str {
    ["P_ALL", "P_PID", "P_PGID", "P_PIDFD"].get(usize::try_from(kind).unwrap_or(usize::MAX)).copied().unwrap_or("?")
}

fn prctl_option(option: u64) -> String {
    match option {
        1 => "PR_SET_PDEATHSIG".to_owned(),
        4 => "PR_SET_DUMPABLE".to_owned(),
        15 => "PR_SET_NAME".to_owned(),
        22 => "PR_SET_SECCOMP".to_owned(),
        24 => "PR_CAPBSET_DROP".to_owned(),
        36 => "PR_SET_CHILD_SUBREAPER".to_owned(),
        38 => "PR_SET_NO_NEW_PRIVS".to_owned(),
        other => other.to_string(),
    }
}

/// A `struct timespec` in the memory of `pid`.
fn duration(pid: Pid, address: u64) -> String {
    let bytes = proc::memory(pid, address, 16);
    let word = |range: std::ops::Range<usize>| {
        bytes.get(range).and_then(|bytes| bytes.try_into().ok()).map(i64::from_ne_bytes)
    };
    match (word(0..8), word(8..16)) {
        (Some(seconds), Some(nanos)) => format!("{:.3} s", seconds as f64 + nanos as f64 / 1e9),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_in_the_manual_and_the_unknown_stays_a_number() {
        assert_eq!(clone_flags(0x2400_0000, 17), "CLONE_NEWUTS|CLONE_NEWPID|SIGCHLD");
        assert_eq!(clone_flags(0x10_0000_0000, 0), "0x1000000000");
        assert_eq!(clone_flags(0, 0), "0");
    }

    #[test]
    fn every_traced_call_has_one_number_and_one_name() {
        for (nth, call) in TRACED.iter().enumerate() {
            assert!(TRACED.iter().skip(nth + 1).all(|other| other.nr != call.nr && other.name != call.name));
            assert_eq!(name(call.nr), call.name);
        }
        assert_eq!(name(100_000), "system call 100000");
    }

    #[test]
    fn a_wait_names_its_child() {
        let wait = |child: i64| BlockedCall { nr: libc::SYS_wait4, args: [child as u64, 0, 0, 0, 0, 0] };
        assert_eq!(blocked(0, &wait(2)), "wait4 on child 2");
        assert_eq!(blocked(0, &wait(-1)), "wait4 on any child");
    }
}
