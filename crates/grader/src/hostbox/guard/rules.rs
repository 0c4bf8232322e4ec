//! Which calls ask the guard, and the numbers that say so.

use nix::mount::MsFlags;

use crate::hostbox::filter::{Rule, When};

/// Calls that act on the whole machine or could make the grader wait for the box: number, name, and what they return.
pub const REFUSED: [(i64, &str, i32); 21] = [
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
];

/// Kinds of socket that may be made: unix, IPv4, IPv6, key management, netlink, packet.
pub const SOCKETS: [u32; 6] = [1, 2, 10, 15, 16, 17];
pub const NETLINK: u64 = 16;
pub const NETLINK_AUDIT: u32 = 9;

/// `fcntl(fd, F_SETLEASE)`: a lease on a file makes other processes wait when they open it.
pub const F_SETLEASE: u32 = 1024;
/// Sends what the machine's console prints to a terminal of the caller's.
pub const TIOCCONS: u32 = 0x541D;
/// Steps from one mount namespace to the next of the machine (Linux 6.12), in type and number; the length may grow. The
/// step back is the next number.
pub const NS_MNT_GET_NEXT: u32 = 0xb70b;
/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`.
pub const JOIN_SESSION_KEYRING: u64 = 1;
/// Not in libc for every architecture.
pub const SYS_FCHMODAT2: i64 = 452;
/// The bits of open(2) that say whether the file may be written.
pub const WRITING: u32 = libc::O_ACCMODE as u32;
/// `fsconfig(fd, FSCONFIG_SET_STRING, key, value)`.
pub const SET_STRING: u32 = 1;
/// The option with which a cgroup v1 hierarchy is told which program the machine is to run.
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
        (libc::SYS_socket, When::Is(2, NETLINK_AUDIT)),
        (libc::SYS_fcntl, When::Is(1, F_SETLEASE)),
        (libc::SYS_keyctl, When::Always),
        (libc::SYS_ioctl, When::Is(1, TIOCCONS)),
        (libc::SYS_ioctl, When::Masked(1, 0xffff, NS_MNT_GET_NEXT)),
        (libc::SYS_ioctl, When::Masked(1, 0xffff, NS_MNT_GET_NEXT + 1)),
    ]);
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
