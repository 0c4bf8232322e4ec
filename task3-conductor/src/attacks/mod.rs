//! Attacks: attempts that must fail inside a container, and their results.
//!
//! Each attempt is harmless even if it succeeds: files are opened for writing but not written, and calls that could
//! change something get invalid arguments. The errno tells how far it got: `EPERM` means it was blocked, `EINVAL` that
//! it reached the kernel's own code.
//!
//! Two programs use them. `conductor attack NAME` makes the attempts in a running container and shows what stopped each
//! ([`lessons`]). The program `attacks` prints a line for each attempt: name, tab, outcome; the tests run it in
//! containers, and in a mere chroot to see the same attempts succeed. Usage: `attacks`, or `attacks NAME…` for some of
//! them; `attacks watch` observes processes that join (see the module `watch`).

pub mod lessons;
mod more;
mod sys;
mod watch;

use std::ffi::CStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid};

/// Name and function of an attempt.
pub type Attempt = (&'static str, fn() -> String);

/// All of them.
#[rustfmt::skip]
pub const ATTACKS: &[Attempt] = &[
    ("chroot-escape", chroot_escape),
    ("open-by-handle", || call(libc::SYS_open_by_handle_at, [0, 0, 0, 0])),
    ("descriptors-of-the-caller", descriptors),
    ("mknod-disk", || mknod(c"/disk", libc::S_IFBLK, libc::makedev(254, 0))),
    ("mknod-memory", || mknod(c"/memory", libc::S_IFCHR, libc::makedev(1, 1))),
    ("planted-device", || read("/planted-zero")),
    ("core-pattern", || open_to_write("/proc/sys/kernel/core_pattern")),
    ("modprobe-path", || open_to_write("/proc/sys/kernel/modprobe")),
    ("panic-on-oom", || open_to_write("/proc/sys/vm/panic_on_oom")),
    ("kernel-memory", || read("/proc/kcore")),
    ("keys", || read("/proc/keys")),
    ("timers", || read("/proc/timer_list")),
    ("interrupts", || read("/proc/interrupts")),
    ("sysfs-write", || open_to_write("/sys/kernel/profiling")),
    ("unmask", || call(libc::SYS_umount2, [text(c"/proc/keys"), 0, 0, 0])),
    ("remount-rw", || call(libc::SYS_mount, [0, text(c"/proc/sys"), 0, (libc::MS_REMOUNT | libc::MS_BIND) as usize])),
    ("mount-proc", || call(libc::SYS_mount, [text(c"proc"), text(c"/mnt"), text(c"proc"), 0])),
    ("mount-cgroup", || in_child(mount_cgroup)),
    ("cgroup-mkdir", || undo(call(libc::SYS_mkdirat, [at_cwd(), text(c"/sys/fs/cgroup/attack"), 0o755, 0]), || fs::remove_dir("/sys/fs/cgroup/attack"))),
    ("oom-score", || outcome(fs::write("/proc/self/oom_score_adj", "-1000").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))))),
    ("priority", || call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, -20_isize as usize, 0])),
    ("user-namespace-unshare", || in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0]))),
    ("user-namespace-clone", || call(libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::CLONE_FS) as usize, 0, 0, 0])),
    ("clone3", || call(libc::SYS_clone3, [0, 0, 0, 0])),
    ("setns", || call(libc::SYS_setns, [usize::MAX, 0, 0, 0])),
    ("bpf", || call(libc::SYS_bpf, [usize::MAX, 0, 0, 0])),
    ("perf", || call(libc::SYS_perf_event_open, [0, 0, 0, 0])),
    ("userfaultfd", || call(libc::SYS_userfaultfd, [usize::MAX, 0, 0, 0])),
    ("io-uring", || call(libc::SYS_io_uring_setup, [0, 0, 0, 0])),
    ("keyctl", || call(libc::SYS_keyctl, [0, -3_isize as usize, 0, 0])),
    ("add-key", || call(libc::SYS_add_key, [0, 0, 0, 0])),
    ("kcmp", || call(libc::SYS_kcmp, [1, 1, usize::MAX, 0])),
    ("pidfd-getfd", || call(libc::SYS_pidfd_getfd, [usize::MAX, 0, 0, 0])),
    ("fsopen", || call(libc::SYS_fsopen, [0, 0, 0, 0])),
    ("open-tree", || call(libc::SYS_open_tree, [usize::MAX, 0, 0, 0])),
    ("reboot", || call(libc::SYS_reboot, [0, 0, 0, 0])),
    ("kexec", || call(libc::SYS_kexec_load, [0, usize::MAX, 0, usize::MAX])),
    ("load-module", || call(libc::SYS_init_module, [0, 0, 0, 0])),
    ("swapon", || call(libc::SYS_swapon, [text(c"/no/such/file"), 0, 0, 0])),
    ("accounting", || call(libc::SYS_acct, [text(c"/no/such/file"), 0, 0, 0])),
    ("clock", || call(libc::SYS_clock_settime, [usize::MAX, 0, 0, 0])),
    ("kernel-log", || call(libc::SYS_syslog, [usize::MAX, 0, 0, 0])),
    ("host-name", || call(libc::SYS_sethostname, [1, usize::MAX, 0, 0])),
    ("typing-into-a-terminal", || call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, text(c"x"), 0])),
    ("typing-with-high-bits", || call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize | 1 << 32, text(c"x"), 0])),
    ("raw-packets", || call(libc::SYS_socket, [libc::AF_PACKET as usize, libc::SOCK_RAW as usize, 0, 0])),
    ("raw-ip", || call(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_RAW as usize, 1, 0])),
    ("hypervisor-socket", || call(libc::SYS_socket, [libc::AF_VSOCK as usize, libc::SOCK_STREAM as usize, 0, 0])),
    ("other-convention", || in_child(sys::call_by_another_convention)),
    ("set-user-id", set_user_id),
];

/// A path that exists only on the host: if it is visible, the attempt got out.
pub static MARK: OnceLock<PathBuf> = OnceLock::new();

/// The program `attacks`; the variable `MARK` is a path that only the host has.
pub fn main() -> ExitCode {
    if let Some(mark) = std::env::var_os("MARK") {
        let _ = MARK.set(PathBuf::from(mark));
    }
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.first().is_some_and(|word| word == "whoami") {
        return ExitCode::from(u8::from(!Uid::effective().is_root()));
    }
    if wanted.first().is_some_and(|word| word == "watch") {
        watch::watch();
    }
    let mut out = std::io::stdout();
    let all = ATTACKS.iter().chain(more::MORE);
    for (name, attack) in all.filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name)) {
        if writeln!(out, "{name}\t{}", attack()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn call(number: libc::c_long, arguments: [usize; 4]) -> String {
    outcome(sys::call(number, arguments).map(drop))
}

/// Makes a device node; one that could be made is removed again.
fn mknod(path: &'static CStr, kind: libc::mode_t, device: libc::dev_t) -> String {
    let made = call(libc::SYS_mknodat, [at_cwd(), text(path), (kind | 0o600) as usize, device as usize]);
    undo(made, || fs::remove_file(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))))
}

/// Mounts cgroup2. In the host's initial cgroup namespace that would reset the mount options of the whole hierarchy,
/// among them `nsdelegate`; in a new namespace it does not.
fn mount_cgroup() -> String {
    let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP);
    call(libc::SYS_mount, [text(c"cgroup2"), text(c"/mnt"), text(c"cgroup2"), 0])
}

/// Undoes an attempt if it succeeded.
fn undo(outcome: String, clean_up: impl FnOnce() -> std::io::Result<()>) -> String {
    if outcome == SUCCEEDED {
        let _ = clean_up();
    }
    outcome
}

/// Outcome of a successful attempt.
pub const SUCCEEDED: &str = "SUCCEEDED";

fn outcome(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => SUCCEEDED.to_owned(),
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
        Ok(_) => SUCCEEDED.to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

/// The classic escape from a chroot: a second chroot below, then `..` past it.
fn chroot_escape() -> String {
    let made = fs::create_dir("/below").is_ok();
    let outcome = in_child(|| {
        let up = "../".repeat(64);
        let escaped = nix::unistd::chroot("/below")
            .and_then(|()| nix::unistd::chdir(up.as_str()))
            .and_then(|()| nix::unistd::chroot("."));
        match escaped {
            Err(errno) => format!("{errno:?}"),
            Ok(()) if MARK.get().is_some_and(|mark| fs::exists(mark).unwrap_or(false)) => SUCCEEDED.to_owned(),
            Ok(()) => "STILL INSIDE".to_owned(),
        }
    });
    if made {
        let _ = fs::remove_dir("/below");
    }
    outcome
}

/// Inherited descriptors of the caller.
fn descriptors() -> String {
    let own = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let more = own.filter_map(|entry| fs::read_link(entry.path()).ok());
    let more = more.filter(|target| target.as_os_str().as_bytes().starts_with(b"/") && target.is_dir());
    // One of them is the folder that is being read.
    match more.filter(|target| !target.starts_with("/proc")).count() {
        0 => "NONE".to_owned(),
        _ => SUCCEEDED.to_owned(),
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
            Ok(status) if status.success() => SUCCEEDED.to_owned(),
            Ok(_) => "STILL NOBODY".to_owned(),
            Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    })
}

/// Makes an attempt in a child, which may be killed or unusable afterwards.
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

fn text(text: &'static CStr) -> usize {
    text.as_ptr() as usize
}

fn at_cwd() -> usize {
    libc::AT_FDCWD as usize
}
