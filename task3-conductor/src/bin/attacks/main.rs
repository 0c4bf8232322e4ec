//! `attacks`: tries from inside a container what must not work there, and says what came of each attempt.
//!
//! Each attempt is chosen to do no harm where it succeeds: files are opened for writing and not written, calls that
//! could change something get arguments that no kernel accepts. The outcome is what tells: `EPERM` was stopped on the
//! way, `EINVAL` got as far as the kernel's own code. One line each: name, tab, outcome.
//!
//! The tests copy it into a container's root and run it there, and in a mere chroot to see that the same attempts get
//! through. Usage: `attacks`, or `attacks NAME…` for some of them; `attacks watch` looks at each process that comes in.

mod sys;
mod watch;

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid};

/// What an attempt is called, and the attempt.
type Attack = (&'static str, fn() -> String);

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    ("chroot-escape", chroot_escape),
    ("open-by-handle", || call(libc::SYS_open_by_handle_at, [0, 0, 0, 0])),
    ("descriptors-of-the-caller", descriptors),
    ("mknod-disk", || call(libc::SYS_mknodat, [at_cwd(), text(c"/disk"), (libc::S_IFBLK | 0o600) as usize, libc::makedev(254, 0) as usize])),
    ("mknod-memory", || call(libc::SYS_mknodat, [at_cwd(), text(c"/memory"), (libc::S_IFCHR | 0o600) as usize, libc::makedev(1, 1) as usize])),
    ("mknod-kernel-log", || call(libc::SYS_mknodat, [at_cwd(), text(c"/kernel-log"), (libc::S_IFCHR | 0o600) as usize, libc::makedev(1, 11) as usize])),
    ("mknod-fuse", || call(libc::SYS_mknodat, [at_cwd(), text(c"/fuse"), (libc::S_IFCHR | 0o600) as usize, libc::makedev(10, 229) as usize])),
    ("mknod-loop", || call(libc::SYS_mknodat, [at_cwd(), text(c"/loop"), (libc::S_IFBLK | 0o600) as usize, libc::makedev(7, 0) as usize])),
    ("mknod-in-dev", || call(libc::SYS_mknodat, [at_cwd(), text(c"/dev/attack"), (libc::S_IFBLK | 0o600) as usize, libc::makedev(254, 0) as usize])),
    ("planted-device", || read("/planted-zero")),
    ("host-by-proc", host_by_proc),
    ("core-pattern", || open_to_write("/proc/sys/kernel/core_pattern")),
    ("modprobe-path", || open_to_write("/proc/sys/kernel/modprobe")),
    ("sysrq", || open_to_write("/proc/sysrq-trigger")),
    ("binfmt", || open_to_write("/proc/sys/fs/binfmt_misc/register")),
    ("uevent-helper", || open_to_write("/sys/kernel/uevent_helper")),
    ("huge-pages", || open_to_write("/sys/kernel/mm/transparent_hugepage/enabled")),
    ("same-pages", || open_to_write("/sys/kernel/mm/ksm/run")),
    ("processor-off", || open_to_write("/sys/devices/system/cpu/cpu1/online")),
    ("panic-timeout", || open_to_write("/proc/sys/kernel/panic")),
    ("pci-bus", || open_to_write("/proc/bus/pci/00/00.0")),
    ("interrupt-affinity", || open_to_write("/proc/irq/default_smp_affinity")),
    ("panic-on-oom", || open_to_write("/proc/sys/vm/panic_on_oom")),
    ("kernel-memory", || read("/proc/kcore")),
    ("keys", || read("/proc/keys")),
    ("timers", || read("/proc/timer_list")),
    ("interrupts", || read("/proc/interrupts")),
    ("kernel-log-device", || read("/dev/kmsg")),
    ("scheduler", || read("/proc/sched_debug")),
    ("latencies", || read("/proc/latency_stats")),
    ("firmware", || list("/sys/firmware")),
    ("power", || list("/sys/devices/virtual/powercap")),
    ("disks", || list("/proc/scsi")),
    ("sysfs-write", || open_to_write("/sys/kernel/profiling")),
    ("unmask", || call(libc::SYS_umount2, [text(c"/proc/keys"), 0, 0, 0])),
    ("remount-rw", || call(libc::SYS_mount, [0, text(c"/proc/sys"), 0, (libc::MS_REMOUNT | libc::MS_BIND) as usize])),
    ("mount-proc", || call(libc::SYS_mount, [text(c"proc"), text(c"/mnt"), text(c"proc"), 0])),
    ("mount-cgroup", || call(libc::SYS_mount, [text(c"cgroup2"), text(c"/mnt"), text(c"cgroup2"), 0])),
    ("mount-sysfs", || call(libc::SYS_mount, [text(c"sysfs"), text(c"/mnt"), text(c"sysfs"), 0])),
    ("mount-tmpfs", || call(libc::SYS_mount, [text(c"tmpfs"), text(c"/mnt"), text(c"tmpfs"), 0])),
    ("mount-devices", || call(libc::SYS_mount, [text(c"devtmpfs"), text(c"/mnt"), text(c"devtmpfs"), 0])),
    ("mount-bind", || call(libc::SYS_mount, [text(c"/"), text(c"/mnt"), 0, libc::MS_BIND as usize])),
    ("mount-shared", || call(libc::SYS_mount, [0, text(c"/"), 0, (libc::MS_SHARED | libc::MS_REC) as usize])),
    ("release-agent", release_agent),
    ("cgroup-leave", || open_to_write("/sys/fs/cgroup/cgroup.procs")),
    ("cgroup-mkdir", || call(libc::SYS_mkdirat, [at_cwd(), text(c"/sys/fs/cgroup/attack"), 0o755, 0])),
    ("oom-score", || outcome(fs::write("/proc/self/oom_score_adj", "-1000").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))))),
    ("limit-raised", || in_child(limit_raised)),
    ("priority", || call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, -20_isize as usize, 0])),
    ("user-namespace-unshare", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0]))),
    ("user-namespace-clone", || call(libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::CLONE_FS) as usize, 0, 0, 0])),
    ("mount-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0]))),
    ("network-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0]))),
    ("process-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWPID as usize, 0, 0, 0]))),
    ("cgroup-namespace", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWCGROUP as usize, 0, 0, 0]))),
    ("pivot-root", || call(libc::SYS_pivot_root, [0, 0, 0, 0])),
    ("clone3", || call(libc::SYS_clone3, [0, 0, 0, 0])),
    ("setns", || call(libc::SYS_setns, [usize::MAX, 0, 0, 0])),
    ("bpf", || call(libc::SYS_bpf, [usize::MAX, 0, 0, 0])),
    ("perf", || call(libc::SYS_perf_event_open, [0, 0, 0, 0])),
    ("userfaultfd", || call(libc::SYS_userfaultfd, [usize::MAX, 0, 0, 0])),
    ("io-uring", || call(libc::SYS_io_uring_setup, [0, 0, 0, 0])),
    ("keyctl", || call(libc::SYS_keyctl, [0, -3_isize as usize, 0, 0])),
    ("add-key", || call(libc::SYS_add_key, [0, 0, 0, 0])),
    ("request-key", || call(libc::SYS_request_key, [0, 0, 0, 0])),
    ("watch-files", || call(libc::SYS_fanotify_init, [usize::MAX, 0, 0, 0])),
    ("kcmp", || call(libc::SYS_kcmp, [1, 1, usize::MAX, 0])),
    ("pidfd-getfd", || call(libc::SYS_pidfd_getfd, [usize::MAX, 0, 0, 0])),
    ("fsopen", || call(libc::SYS_fsopen, [0, 0, 0, 0])),
    ("open-tree", || call(libc::SYS_open_tree, [usize::MAX, 0, 0, 0])),
    ("move-mount", || call(libc::SYS_move_mount, [usize::MAX, 0, usize::MAX, 0])),
    ("mount-attributes", || call(libc::SYS_mount_setattr, [usize::MAX, 0, usize::MAX, 0])),
    ("reboot", || call(libc::SYS_reboot, [0, 0, 0, 0])),
    ("kexec", || call(libc::SYS_kexec_load, [0, usize::MAX, 0, usize::MAX])),
    ("load-module", || call(libc::SYS_init_module, [0, 0, 0, 0])),
    ("load-module-file", || call(libc::SYS_finit_module, [usize::MAX, 0, usize::MAX, 0])),
    ("unload-module", || call(libc::SYS_delete_module, [0, 0, 0, 0])),
    ("quotas", || call(libc::SYS_quotactl, [usize::MAX, 0, 0, 0])),
    ("time-of-day", || call(libc::SYS_settimeofday, [0, 0, 0, 0])),
    ("domain-name", || call(libc::SYS_setdomainname, [1, usize::MAX, 0, 0])),
    ("swapoff", || call(libc::SYS_swapoff, [text(c"/no/such/file"), 0, 0, 0])),
    ("swapon", || call(libc::SYS_swapon, [text(c"/no/such/file"), 0, 0, 0])),
    ("accounting", || call(libc::SYS_acct, [text(c"/no/such/file"), 0, 0, 0])),
    ("clock", || call(libc::SYS_clock_settime, [usize::MAX, 0, 0, 0])),
    ("kernel-log", || call(libc::SYS_syslog, [usize::MAX, 0, 0, 0])),
    ("host-name", || call(libc::SYS_sethostname, [1, usize::MAX, 0, 0])),
    ("typing-into-a-terminal", || call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, text(c"x"), 0])),
    ("typing-with-high-bits", || call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize | 1 << 32, text(c"x"), 0])),
    ("console-paste", || call(libc::SYS_ioctl, [0, TIOCLINUX, 0, 0])),
    ("raw-packets", || call(libc::SYS_socket, [libc::AF_PACKET as usize, libc::SOCK_RAW as usize, 0, 0])),
    ("raw-ip", || call(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_RAW as usize, 1, 0])),
    ("hypervisor-socket", || call(libc::SYS_socket, [libc::AF_VSOCK as usize, libc::SOCK_STREAM as usize, 0, 0])),
    ("other-numbers", || in_child(|| call(X32_BIT | libc::SYS_getpid, [0, 0, 0, 0]))),
    ("other-convention", || in_child(sys::call_by_another_convention)),
    ("set-user-id", set_user_id),
    ("unmount-sys", || call(libc::SYS_umount2, [text(c"/sys"), libc::MNT_DETACH as usize, 0, 0])),
    ("host-by-abstract-socket", host_by_abstract_socket),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.first().is_some_and(|word| word == "whoami") {
        return ExitCode::from(u8::from(!Uid::effective().is_root()));
    }
    if wanted.first().is_some_and(|word| word == "watch") {
        watch::watch();
    }
    let mut out = std::io::stdout();
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name))
    {
        if writeln!(out, "{name}\t{}", attack()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn call(number: libc::c_long, arguments: [usize; 4]) -> String {
    outcome(sys::call(number, arguments).map(drop))
}

fn outcome(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => "SUCCEEDED".to_owned(),
        Err(errno) => format!("{errno:?}"),
    }
}

fn open_to_write(path: &str) -> String {
    let opened = fs::OpenOptions::new().write(true).open(path);
    outcome(opened.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}

/// Whether there is anything to be read.
fn read(path: &str) -> String {
    use std::io::Read;
    let mut first = [0; 1];
    match fs::File::open(path).and_then(|mut file| file.read(&mut first)) {
        Ok(0) => "EMPTY".to_owned(),
        Ok(_) => "SUCCEEDED".to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

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
        Ok(mut entries) => if entries.next().is_none() { "EMPTY" } else { "SUCCEEDED" }.to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

/// Of ioctl_console(2): among other things it pastes what is selected, as if it were typed.
const TIOCLINUX: usize = 0x541c;

/// The host's files by way of a process's root or working directory. `MARK` is as below.
fn host_by_proc() -> String {
    let Some(mark) = std::env::var_os("MARK") else { return "NO MARK".to_owned() };
    let mark = std::path::Path::new(&mark).strip_prefix("/").unwrap_or(std::path::Path::new("")).to_owned();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ways = processes.flat_map(|process| ["root", "cwd"].map(|way| process.path().join(way).join(&mark)));
    if ways.into_iter().any(|way| way.exists()) { "SUCCEEDED" } else { "STILL INSIDE" }.to_owned()
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

/// The oldest way out of a chroot: a second one below, and then up past it. The variable `MARK` is a path that only the
/// host has.
fn chroot_escape() -> String {
    in_child(|| {
        let _ = fs::create_dir("/below");
        let up = "../".repeat(64);
        let escaped = nix::unistd::chroot("/below")
            .and_then(|()| nix::unistd::chdir(up.as_str()))
            .and_then(|()| nix::unistd::chroot("."));
        match escaped {
            Err(errno) => format!("{errno:?}"),
            Ok(()) if std::env::var_os("MARK").is_some_and(|mark| fs::exists(mark).unwrap_or(false)) => {
                "SUCCEEDED".to_owned()
            }
            Ok(()) => "STILL INSIDE".to_owned(),
        }
    })
}

/// Descriptors that the caller had open and that came along.
fn descriptors() -> String {
    let own = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let further = own.filter_map(|entry| fs::read_link(entry.path()).ok());
    let further = further.filter(|target| target.as_os_str().as_bytes().starts_with(b"/") && target.is_dir());
    // One of them is the folder that is being read.
    match further.filter(|target| !target.starts_with("/proc")).count() {
        0 => "NONE".to_owned(),
        _ => "SUCCEEDED".to_owned(),
    }
}

/// Becomes an ordinary user and starts a copy of this program that belongs to root and is set-user-ID.
fn set_user_id() -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = "/set-user-id";
    let planted =
        fs::copy("/proc/self/exe", path).and_then(|_| fs::set_permissions(path, fs::Permissions::from_mode(0o4755)));
    if planted.is_err() {
        return "NOT PLANTED".to_owned();
    }
    in_child(|| {
        let nobody = Uid::from_raw(65534);
        if let Err(errno) = nix::unistd::setresuid(nobody, nobody, nobody) {
            return format!("{errno:?}");
        }
        match std::process::Command::new(path).arg("whoami").status() {
            Ok(status) if status.success() => "SUCCEEDED".to_owned(),
            Ok(_) => "STILL NOBODY".to_owned(),
            Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    })
}

/// Makes an attempt in a child, which may be killed for it or be no use afterwards.
fn in_child(attempt: impl FnOnce() -> String) -> String {
    let Ok((read, write)) = nix::unistd::pipe() else { return "NO PIPE".to_owned() };
    match sys::fork() {
        Err(errno) => format!("{errno:?}"),
        Ok(ForkResult::Child) => {
            let _ = fs::File::from(write).write_all(attempt().as_bytes());
            std::process::exit(0)
        }
        Ok(ForkResult::Parent { child }) => {
            drop(write);
            let said = std::io::read_to_string(fs::File::from(read)).unwrap_or_default();
            ended(child).unwrap_or(said)
        }
    }
}

/// How a child was killed, if it was.
fn ended(child: Pid) -> Option<String> {
    match waitpid(child, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("{signal}")),
        _ => None,
    }
}

fn text(text: &'static std::ffi::CStr) -> usize {
    text.as_ptr() as usize
}

fn at_cwd() -> usize {
    libc::AT_FDCWD as usize
}
