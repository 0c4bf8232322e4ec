//! More attempts, only for tests: they leave something behind if they succeed, or need preparation, so `conductor
//! attack` does not make them.

use std::fs;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};

use super::{Attempt, MARK, SUCCEEDED, at_cwd, call, in_child, open_to_write, outcome, read, sys, text};

#[rustfmt::skip]
pub(super) const MORE: &[Attempt] = &[
    ("mknod-kernel-log", || call(libc::SYS_mknodat, [at_cwd(), text(c"/kernel-log"), (libc::S_IFCHR | 0o600) as usize, libc::makedev(1, 11) as usize])),
    ("mknod-fuse", || call(libc::SYS_mknodat, [at_cwd(), text(c"/fuse"), (libc::S_IFCHR | 0o600) as usize, libc::makedev(10, 229) as usize])),
    ("mknod-loop", || call(libc::SYS_mknodat, [at_cwd(), text(c"/loop"), (libc::S_IFBLK | 0o600) as usize, libc::makedev(7, 0) as usize])),
    ("mknod-in-dev", || call(libc::SYS_mknodat, [at_cwd(), text(c"/dev/attack"), (libc::S_IFBLK | 0o600) as usize, libc::makedev(254, 0) as usize])),
    ("host-by-proc", host_by_proc),
    ("sysrq", || open_to_write("/proc/sysrq-trigger")),
    ("binfmt", || open_to_write("/proc/sys/fs/binfmt_misc/register")),
    ("uevent-helper", || open_to_write("/sys/kernel/uevent_helper")),
    ("huge-pages", || open_to_write("/sys/kernel/mm/transparent_hugepage/enabled")),
    ("same-pages", || open_to_write("/sys/kernel/mm/ksm/run")),
    ("processor-off", || open_to_write("/sys/devices/system/cpu/cpu1/online")),
    ("panic-timeout", || open_to_write("/proc/sys/kernel/panic")),
    ("pci-bus", || open_to_write("/proc/bus/pci/00/00.0")),
    ("interrupt-affinity", || open_to_write("/proc/irq/default_smp_affinity")),
    ("kernel-log-device", || read("/dev/kmsg")),
    ("scheduler", || read("/proc/sched_debug")),
    ("latencies", || read("/proc/latency_stats")),
    ("firmware", || list("/sys/firmware")),
    ("power", || list("/sys/devices/virtual/powercap")),
    ("disks", || list("/proc/scsi")),
    ("mount-sysfs", || call(libc::SYS_mount, [text(c"sysfs"), text(c"/mnt"), text(c"sysfs"), 0])),
    ("mount-tmpfs", || call(libc::SYS_mount, [text(c"tmpfs"), text(c"/mnt"), text(c"tmpfs"), 0])),
    ("mount-devices", || call(libc::SYS_mount, [text(c"devtmpfs"), text(c"/mnt"), text(c"devtmpfs"), 0])),
    ("mount-bind", || call(libc::SYS_mount, [text(c"/"), text(c"/mnt"), 0, libc::MS_BIND as usize])),
    ("mount-shared", || call(libc::SYS_mount, [0, text(c"/"), 0, (libc::MS_SHARED | libc::MS_REC) as usize])),
    ("release-agent", release_agent),
    ("cgroup-leave", || open_to_write("/sys/fs/cgroup/cgroup.procs")),
    ("limit-raised", || in_child(limit_raised)),
    ("mount-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0]))),
    ("network-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0]))),
    ("process-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWPID as usize, 0, 0, 0]))),
    ("cgroup-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWCGROUP as usize, 0, 0, 0]))),
    ("pivot-root", || call(libc::SYS_pivot_root, [0, 0, 0, 0])),
    ("request-key", || call(libc::SYS_request_key, [0, 0, 0, 0])),
    ("watch-files", || call(libc::SYS_fanotify_init, [usize::MAX, 0, 0, 0])),
    ("move-mount", || call(libc::SYS_move_mount, [usize::MAX, 0, usize::MAX, 0])),
    ("mount-attributes", || call(libc::SYS_mount_setattr, [usize::MAX, 0, usize::MAX, 0])),
    ("load-module-file", || call(libc::SYS_finit_module, [usize::MAX, 0, usize::MAX, 0])),
    ("unload-module", || call(libc::SYS_delete_module, [0, 0, 0, 0])),
    ("quotas", || call(libc::SYS_quotactl, [usize::MAX, 0, 0, 0])),
    ("time-of-day", || call(libc::SYS_settimeofday, [0, 0, 0, 0])),
    ("domain-name", || call(libc::SYS_setdomainname, [1, usize::MAX, 0, 0])),
    ("swapoff", || call(libc::SYS_swapoff, [text(c"/no/such/file"), 0, 0, 0])),
    ("console-paste", || call(libc::SYS_ioctl, [0, TIOCLINUX, 0, 0])),
    ("other-numbers", || in_child(|| call(X32_BIT | libc::SYS_getpid, [0, 0, 0, 0]))),
    ("unmount-sys", || call(libc::SYS_umount2, [text(c"/sys"), libc::MNT_DETACH as usize, 0, 0])),
    ("host-by-abstract-socket", host_by_abstract_socket),
];

/// Marks the numbers of a third way to call the kernel, in which each is another call than a filter expects.
const X32_BIT: libc::c_long = 0x4000_0000;

/// Lowers a limit for good, and raises it again.
fn limit_raised() -> String {
    let set = |most| setrlimit(Resource::RLIMIT_CORE, most, most);
    outcome(set(0).and_then(|()| set(1)))
}

/// Whether there is anything in a folder.
fn list(path: &str) -> String {
    match fs::read_dir(path) {
        Ok(mut entries) => if entries.next().is_none() { "EMPTY" } else { SUCCEEDED }.to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

/// Of ioctl_console(2): among other things it pastes what is selected, as if it were typed.
const TIOCLINUX: usize = 0x541c;

/// The host's files by way of a process's root or working directory. `MARK` is as below.
fn host_by_proc() -> String {
    let Some(mark) = MARK.get() else { return "NO MARK".to_owned() };
    let mark = mark.strip_prefix("/").unwrap_or(mark);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ways = processes.flat_map(|process| ["root", "cwd"].map(|way| process.path().join(way).join(mark)));
    if ways.into_iter().any(|way| way.exists()) { SUCCEEDED } else { "STILL INSIDE" }.to_owned()
}

/// A cgroup v1 tree, whose release_agent is a program that the kernel starts outside of every container (CVE-2022-0492).
fn release_agent() -> String {
    let kinds = [c"memory", c"cpu", c"devices", c"pids", c"freezer"];
    let mounted = kinds.map(|kind| sys::call_with_data(libc::SYS_mount, [c"cgroup", c"/mnt", c"cgroup"], 0, kind));
    mounted.iter().find(|outcome| outcome.is_ok()).or(mounted.first()).map_or_else(String::new, |best| outcome(*best))
}

/// A socket of the host's that lives in its network namespace instead of the file system (CVE-2020-15257). Its name is
/// the variable `SOCKET`.
fn host_by_abstract_socket() -> String {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let Ok(name) = std::env::var("SOCKET") else { return "NO SOCKET".to_owned() };
    let connected = SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
    outcome(connected.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}
