//! Which calls ask the guard, and the numbers that say so.

use nix::mount::MsFlags;

use crate::sandbox::filter::{Rule, When};

/// Calls that act on the whole machine or could make the grader wait for the box: number, name, and what they return.
pub const REFUSED: [(i64, &str, i32); 23] = [
    (libc::SYS_bpf, "bpf", libc::EPERM),
    (libc::SYS_perf_event_open, "perf_event_open", libc::EACCES),
    (libc::SYS_kexec_load, "kexec_load", libc::EPERM),
    (libc::SYS_kexec_file_load, "kexec_file_load", libc::EPERM),
    (libc::SYS_init_module, "init_module", libc::EPERM),
    (libc::SYS_finit_module, "finit_module", libc::EPERM),
    (libc::SYS_delete_module, "delete_module", libc::EPERM),
    // No filter sees what is done through a ring. As on a kernel without them, programs take another way.
    (libc::SYS_io_uring_setup, "io_uring_setup", libc::ENOSYS),
    (libc::SYS_io_uring_enter, "io_uring_enter", libc::ENOSYS),
    (libc::SYS_io_uring_register, "io_uring_register", libc::ENOSYS),
    // Keys belong to a user of the machine and outlive the box.
    (libc::SYS_add_key, "add_key", libc::ENOSYS),
    (libc::SYS_request_key, "request_key", libc::ENOSYS),
    (libc::SYS_swapon, "swapon", libc::EPERM),
    (libc::SYS_swapoff, "swapoff", libc::EPERM),
    (libc::SYS_quotactl, "quotactl", libc::EPERM),
    (libc::SYS_quotactl_fd, "quotactl_fd", libc::EPERM),
    (libc::SYS_syslog, "syslog", libc::EPERM),
    (libc::SYS_acct, "acct", libc::EPERM),
    // With these a process answers for another's access to a file or to memory: the other could be the grader.
    (libc::SYS_fanotify_init, "fanotify_init", libc::EPERM),
    (libc::SYS_userfaultfd, "userfaultfd", libc::EPERM),
    (libc::SYS_open_by_handle_at, "open_by_handle_at", libc::EPERM),
    // They tell CAP_SYS_ADMIN the mounts of every mount namespace of the machine. As on a kernel without them, programs
    // read /proc/self/mountinfo.
    (SYS_STATMOUNT, "statmount", libc::ENOSYS),
    (SYS_LISTMOUNT, "listmount", libc::ENOSYS),
];

/// Not in libc for every architecture; since 5.1 a new call has the same number on all of them.
const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;
pub const SYS_FCHMODAT2: i64 = 452;
pub const SYS_SETXATTRAT: i64 = 463;
pub const SYS_REMOVEXATTRAT: i64 = 466;

/// Kinds of socket that may be made: unix, IPv4, IPv6, key management, netlink, packet.
pub const SOCKETS: [u32; 6] = [1, 2, 10, 15, 16, 17];
pub const NETLINK: u64 = 16;
/// Kinds of netlink socket that belong to a network namespace: route, usersock, diag, xfrm, netfilter, uevent, generic.
pub const NETLINK_KINDS: [u32; 7] = [0, 2, 4, 6, 12, 15, 16];
/// Kinds that programs try and do without: those for SELinux and for the audit log, which is the machine's.
pub const NETLINK_TRIED: [u64; 2] = [7, 9];
/// [`NETLINK_KINDS`] and what else stands in this argument most often (ICMP, UDP, ICMPv6, raw): these need no question.
const PROTOCOLS: [u32; 11] = [0, 2, 4, 6, 12, 15, 16, 1, 17, 58, 255];

/// `fcntl(fd, F_SETLEASE)`: a lease on a file makes other processes wait when they open it.
pub const F_SETLEASE: u32 = 1024;
/// The same for folders (Linux 6.19).
const F_SETDELEG: u32 = 1040;
/// `madvise(…, MADV_HWPOISON)` takes a page of the machine's memory out of use for good; so does the next, gently.
const MADV_HWPOISON: u32 = 100;
const MADV_SOFT_OFFLINE: u32 = 101;
/// `ioprio_set(…, class << 13 | level)`: a real-time class, before all other readers of the machine's disks.
const IOPRIO_CLASS: u32 = 7 << 13;
const IOPRIO_CLASS_RT: u32 = 1 << 13;
/// Requests to the random devices that change the machine's pool, in type and number: `RNDADDTOENTCNT`,
/// `RNDADDENTROPY`, `RNDZAPENTCNT`, `RNDCLEARPOOL`, `RNDRESEEDCRNG`.
pub const RANDOM: [u32; 5] = [0x5201, 0x5203, 0x5204, 0x5206, 0x5207];
/// Type and number of an ioctl, without its direction and length.
pub const REQUEST: u32 = 0xffff;
/// Sends what the machine's console prints to a terminal of the caller's.
pub const TIOCCONS: u32 = 0x541D;
/// Puts a line discipline under a terminal: for the number, the kernel looks for a module.
pub const TIOCSETD: u32 = 0x5423;
/// Steps from one mount namespace to the next of the machine (Linux 6.12), in type and number; the length may grow. The
/// step back is the next number.
pub const NS_MNT_GET_NEXT: u32 = 0xb70b;
/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`.
pub const JOIN_SESSION_KEYRING: u64 = 1;
/// The bits of open(2) that say whether the file may be written.
pub const WRITING: u32 = libc::O_ACCMODE as u32;
/// `fsconfig(fd, FSCONFIG_SET_STRING, key, value)`.
pub const SET_STRING: u32 = 1;
/// The mount option of cgroup v1 that names a program for the machine to run.
pub const RELEASE_AGENT: &str = "release_agent";

/// Flags of mount(2) with which nothing new is mounted.
pub const OTHER_THAN_MOUNTING: MsFlags = MsFlags::MS_BIND
    .union(MsFlags::MS_MOVE)
    .union(MsFlags::MS_SHARED)
    .union(MsFlags::MS_PRIVATE)
    .union(MsFlags::MS_SLAVE)
    .union(MsFlags::MS_UNBINDABLE);

/// The calls that ask, and when.
pub fn rules() -> Vec<Rule> {
    let other_than_mounting = OTHER_THAN_MOUNTING.bits() as u32;
    let mut rules: Vec<Rule> = REFUSED.iter().map(|(nr, ..)| (*nr, When::Always)).collect();
    rules.extend([
        (libc::SYS_openat, When::Any(2, WRITING)),
        (libc::SYS_openat2, When::Always),
        (libc::SYS_fchmod, When::Always),
        (libc::SYS_fchmodat, When::Always),
        (SYS_FCHMODAT2, When::Always),
        (libc::SYS_fchown, When::Always),
        (libc::SYS_fchownat, When::Always),
        (libc::SYS_mkdirat, When::Always),
        (libc::SYS_mount, When::NoneOf(3, other_than_mounting)),
        (libc::SYS_mount, When::Any(3, 0xC000_0000 | MsFlags::MS_REMOUNT.bits() as u32)),
        (libc::SYS_fsopen, When::Always),
        (libc::SYS_fsconfig, When::Is(1, SET_STRING)),
        (libc::SYS_socket, When::IsNot(0, &SOCKETS)),
        (libc::SYS_socket, When::IsNot(2, &PROTOCOLS)),
        (libc::SYS_fcntl, When::Is(1, F_SETLEASE)),
        (libc::SYS_fcntl, When::Is(1, F_SETDELEG)),
        (libc::SYS_setrlimit, When::Is(0, libc::RLIMIT_CORE)),
        (libc::SYS_prlimit64, When::Is(1, libc::RLIMIT_CORE)),
        (libc::SYS_madvise, When::Is(2, MADV_HWPOISON)),
        (libc::SYS_madvise, When::Is(2, MADV_SOFT_OFFLINE)),
        (libc::SYS_ioprio_set, When::Masked(2, IOPRIO_CLASS, IOPRIO_CLASS_RT)),
        (libc::SYS_setxattr, When::Always),
        (libc::SYS_lsetxattr, When::Always),
        (libc::SYS_fsetxattr, When::Always),
        (SYS_SETXATTRAT, When::Always),
        (libc::SYS_removexattr, When::Always),
        (libc::SYS_lremovexattr, When::Always),
        (libc::SYS_fremovexattr, When::Always),
        (SYS_REMOVEXATTRAT, When::Always),
        (libc::SYS_keyctl, When::Always),
        (libc::SYS_ioctl, When::Is(1, TIOCCONS)),
        (libc::SYS_ioctl, When::Is(1, TIOCSETD)),
        (libc::SYS_ioctl, When::Masked(1, REQUEST, NS_MNT_GET_NEXT)),
        (libc::SYS_ioctl, When::Masked(1, REQUEST, NS_MNT_GET_NEXT + 1)),
    ]);
    rules.extend(RANDOM.map(|request| (libc::SYS_ioctl, When::Masked(1, REQUEST, request))));
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        (libc::SYS_open, When::Any(1, WRITING)),
        (libc::SYS_creat, When::Always),
        (libc::SYS_mkdir, When::Always),
        (libc::SYS_chmod, When::Always),
        (libc::SYS_chown, When::Always),
        (libc::SYS_lchown, When::Always),
    ]);
    rules
}
