//! Every `unsafe` of the grader, one call a function.
//!
//! What is here is here because no safe crate offers it: fork(2) in a process that may have threads, raw wait statuses
//! and signals (real-time signals, which a tracer must pass on, have no place in an enum), seccomp filters and their listener,
//! and the loading of BPF programs.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::ptrace;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::{ForkResult, Pid};

/// Forks this process; in the child only the calling thread goes on.
///
/// # Errors
/// Those of fork(2): `EAGAIN` at the limit of processes, `ENOMEM` when the PID namespace's init is dead.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the child uses memory (malloc is put in order by glibc's own fork handlers), files and calls, and takes no
    // lock that another thread of the grader could have held: no stdout, no environment.
    unsafe { nix::unistd::fork() }
}

/// Ends this process at once: no destructor runs, nothing buffered is written.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes a number and does not return; a forked child leaves the parent's guards and buffers to the parent.
    unsafe { libc::_exit(code) }
}

/// The number of a mount namespace: `NS_GET_MNTNS_ID` of ioctl_nsfs(2), from Linux 6.10 on.
///
/// # Errors
/// `ENOTTY` when the file is no namespace, or the kernel is older.
pub fn mount_namespace_number(namespace: &std::fs::File) -> nix::Result<u64> {
    nix::ioctl_read!(number_of, 0xb7, 5, u64);
    let mut number = 0;
    // SAFETY: the kernel writes one u64 there.
    unsafe { number_of(namespace.as_raw_fd(), &raw mut number) }?;
    Ok(number)
}

/// Gives `signal` its default action back: what a Rust program ignores (SIGPIPE), its children would ignore too.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no handler of ours, so no code can run in a signal's context.
    unsafe { nix::sys::signal::sigaction(signal, &default) }.map(drop)
}

/// Overwrites the arguments and the environment of this process with `name`, as others read them in `/proc/PID`.
///
/// Between them lie the strings of execve(2), at addresses that `/proc/self/stat` gives. Nothing
/// here may read its environment afterwards.
///
/// # Errors
/// When the addresses cannot be read.
pub fn forget_arguments(name: &[u8]) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let address =
        |nth: usize| fields.get(nth).and_then(|word| word.parse::<usize>().ok()).filter(|address| *address != 0);
    // arg_start, arg_end, env_start, env_end: fields 48 to 51 of proc_pid_stat(5), here counted from the third.
    let (Some(start), Some(end)) = (address(45), address(48)) else {
        return Err(io::Error::other("/proc/self/stat does not tell where the arguments are"));
    };
    let length = end.saturating_sub(start);
    let mut text = name.to_vec();
    text.resize(length, 0);
    // SAFETY: the kernel mapped [arg_start, env_end) for this process's strings and it is writable; in a process of one
    // thread that uses neither its arguments nor its environment any more, no other code reads it.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), start as *mut u8, length) };
    Ok(())
}

/// A change of state that wait(2) told, with the status as the kernel gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Which thread it is about.
    pub pid: i32,
    /// The raw status.
    pub status: i32,
}

/// Waits for any child or tracee of this thread; `None` when `block` is false and nothing has happened.
///
/// # Errors
/// `ECHILD` when there is none left.
pub fn wait_any(block: bool) -> io::Result<Option<Waited>> {
    let flags = libc::__WALL | libc::__WNOTHREAD | if block { 0 } else { libc::WNOHANG };
    loop {
        let mut status = 0;
        // SAFETY: `status` is ours and lives through the call, which writes one int to it.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match pid {
            0 => return Ok(None),
            1.. => return Ok(Some(Waited { pid, status })),
            _ => {
                let why = io::Error::last_os_error();
                if why.kind() != io::ErrorKind::Interrupted {
                    return Err(why);
                }
            }
        }
    }
}

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Until something of interest happens.
    Run,
    /// Until the call it is in returns.
    ToCallEnd,
    /// It stays stopped, as SIGSTOP asked, but the kernel tells when that ends.
    StayStopped,
}

/// Lets a stopped tracee go on, handing it `signal` (0: none).
///
/// # Errors
/// `ESRCH` when it died meanwhile.
pub fn resume(pid: i32, how: Resume, signal: i32) -> io::Result<()> {
    let request = match how {
        Resume::Run => libc::PTRACE_CONT,
        Resume::ToCallEnd => libc::PTRACE_SYSCALL,
        Resume::StayStopped => libc::PTRACE_LISTEN,
    };
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: these three requests read `data` as a number and no memory of ours.
    match unsafe { libc::ptrace(request, pid, nothing, signal as usize as *mut libc::c_void) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Where a stopped tracee stands in a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStop {
    /// The filter stopped it before this call.
    Entering {
        /// Number of the call.
        nr: u64,
        /// Its arguments.
        args: [u64; 6],
    },
    /// The call returned this.
    Leaving(i64),
    /// It is in no call.
    None,
}

/// Asks where the stopped tracee stands; the same on every architecture.
///
/// # Errors
/// `ESRCH` when it died meanwhile.
pub fn call_stop(pid: i32) -> nix::Result<CallStop> {
    let info = ptrace::syscall_info(Pid::from_raw(pid))?;
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_SECCOMP => {
            // SAFETY: `op` says that the kernel filled this member of the union.
            let entry = unsafe { info.u.seccomp };
            CallStop::Entering { nr: entry.nr, args: entry.args }
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: `op` says that the kernel filled this member of the union.
            let exit = unsafe { info.u.exit };
            CallStop::Leaving(exit.sval)
        }
        _ => CallStop::None,
    })
}

/// Loads a seccomp filter for this process and all that it becomes and starts.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without `CAP_SYS_ADMIN`.
pub fn load_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    seccomp(program, 0).map(drop)
}

/// The same for a filter that asks a listener about some calls; returns the listener.
///
/// # Errors
/// As [`load_filter`]; `EBUSY` when a filter with a listener is there already.
pub fn load_asking_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let asking = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // Since Linux 5.19: once the listener has taken a call, no signal makes it be asked again.
    let listener = seccomp(program, asking | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        .or_else(|why| if why.raw_os_error() == Some(libc::EINVAL) { seccomp(program, asking) } else { Err(why) })?;
    Ok(own(listener))
}

fn seccomp(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<RawFd> {
    let length = u16::try_from(program.len()).unwrap_or(0);
    let fprog = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `fprog` points into `program`, which outlives the call; the kernel copies and checks it, and writes nothing.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(RawFd::try_from(fd).unwrap_or(0)),
    }
}

/// A call that waits for the listener's answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// The kernel's number for this question.
    id: u64,
    /// The thread that makes the call, as this process numbers it.
    pub tid: i32,
    /// Number of the call.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What becomes of a call that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResponse {
    /// The kernel does it.
    GoOn,
    /// It returns this without having been done; an error is a negative number.
    Return(i32),
    /// It has been answered already, by [`respond_with_file`].
    Answered,
}

/// Answers a question by opening `file` in the caller: the call returns the caller's new descriptor.
///
/// # Errors
/// Those of ioctl(2), `SECCOMP_IOCTL_NOTIF_ADDFD`; `EINVAL` before Linux 5.14.
pub fn respond_with_file(
    listener: BorrowedFd<'_>,
    asked: &Notification,
    file: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<()> {
    let added = libc::seccomp_notif_addfd {
        id: asked.id,
        flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SEND).unwrap_or(0),
        srcfd: u32::try_from(file.as_raw_fd()).unwrap_or(0),
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: `added` has the kernel's layout and outlives the call.
    match unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const added) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Asks the kernel to run listener and caller in turn on one processor, which saves a wake-up on another (Linux 6.6).
pub fn answer_on_the_same_processor(listener: BorrowedFd<'_>) {
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: this request takes a number and no memory of ours. An older kernel refuses it, and all works as before.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// Takes the next question of a listener; `None` when its caller is gone by now.
///
/// # Errors
/// Those of ioctl(2), `SECCOMP_IOCTL_NOTIF_RECV`.
pub fn next_notification(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut asked = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
    // SAFETY: `asked` is all zero, as the kernel wants it, has its layout, and is written by this call alone.
    match unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } {
        0 => {
            let tid = i32::try_from(asked.pid).unwrap_or(0);
            Ok(Some(Notification { id: asked.id, tid, nr: i64::from(asked.data.nr), args: asked.data.args }))
        }
        _ => match io::Error::last_os_error() {
            why if matches!(why.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
            why => Err(why),
        },
    }
}

/// Whether the caller still waits: if so, its thread id is its own and what was read of it is true.
pub fn is_valid(listener: BorrowedFd<'_>, asked: &Notification) -> bool {
    // SAFETY: the call reads one number through the pointer, which is valid.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id) == 0 }
}

/// Answers a question. A caller that is gone by now needs no answer.
pub fn respond(listener: BorrowedFd<'_>, asked: &Notification, verdict: CallResponse) {
    let (val, error, flags) = match verdict {
        CallResponse::Answered => return,
        CallResponse::GoOn => (0, 0, u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(0)),
        CallResponse::Return(value) if value < 0 => (0, value, 0),
        CallResponse::Return(value) => (i64::from(value), 0, 0),
    };
    let response = libc::seccomp_notif_resp { id: asked.id, val, error, flags };
    // SAFETY: `response` has the kernel's layout and outlives the call.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
}

/// One instruction of a BPF program of the extended kind, in the kernel's layout.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BpfStep {
    /// What is done.
    pub code: u8,
    /// Destination register in the low four bits, source in the high four.
    pub registers: u8,
    /// Offset, of memory or jump.
    pub offset: i16,
    /// The constant.
    pub constant: i32,
}

/// The kinds of BPF program that a box has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfKind {
    /// Decides which device files the processes of a cgroup may open or make.
    Device,
    /// Decides which kernel settings they may read and write.
    Sysctl,
}

impl BpfKind {
    /// `BPF_PROG_TYPE_CGROUP_DEVICE`, `BPF_PROG_TYPE_CGROUP_SYSCTL`.
    fn program_type(self) -> u32 {
        match self {
            BpfKind::Device => 15,
            BpfKind::Sysctl => 23,
        }
    }

    /// `BPF_CGROUP_DEVICE`, `BPF_CGROUP_SYSCTL`.
    fn attach_type(self) -> u32 {
        match self {
            BpfKind::Device => 6,
            BpfKind::Sysctl => 18,
        }
    }
}

/// Loads a BPF program.
///
/// # Errors
/// Those of bpf(2): `EINVAL` where the kernel was built without this kind, `EACCES` for a program it does not trust.
pub fn bpf_load(kind: BpfKind, program: &[BpfStep], name: [u8; 16]) -> io::Result<OwnedFd> {
    /// The first members of the kernel's `union bpf_attr` for `BPF_PROG_LOAD`; what follows counts as zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        steps: u32,
        program: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    const BPF_PROG_LOAD: i32 = 5;
    let license = c"GPL";
    let load = Load {
        kind: kind.program_type(),
        steps: u32::try_from(program.len()).unwrap_or(0),
        program: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name,
        interface: 0,
        attach_type: kind.attach_type(),
    };
    loop {
        // SAFETY: `load` has the length given with it; the program and the licence it points to outlive the call.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
        match RawFd::try_from(fd) {
            Ok(fd) if fd >= 0 => return Ok(own(fd)),
            _ => match io::Error::last_os_error() {
                // A signal came while the kernel checked the program.
                why if why.kind() == io::ErrorKind::WouldBlock => {}
                why => return Err(why),
            },
        }
    }
}

/// What bpf(2) numbers over the whole machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfObject {
    /// A loaded program.
    Program,
    /// What holds a program where it was attached.
    Link,
}

/// The numbers of all programs or links of the machine that are there now.
pub fn bpf_objects(kind: BpfObject) -> Vec<u32> {
    // BPF_PROG_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID: the first number after `start`, or ENOENT.
    let command = match kind {
        BpfObject::Program => 11,
        BpfObject::Link => 31,
    };
    let (mut found, mut start) = (Vec::new(), 0);
    loop {
        let mut next: [u32; 3] = [start, 0, 0];
        // SAFETY: the call reads and writes the three words of `next`, whose length it is given.
        if unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut next, size_of_val(&next)) } != 0 {
            return found;
        }
        start = next[1];
        found.push(start);
    }
}

/// The name that a program was loaded with.
///
/// # Errors
/// `ENOENT` when it is gone.
pub fn bpf_program_name(number: u32) -> io::Result<String> {
    const BPF_PROG_GET_FD_BY_ID: i32 = 13;
    const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
    let which: [u32; 3] = [number, 0, 0];
    // SAFETY: the call reads the three words of `which`.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, &raw const which, size_of_val(&which)) };
    let program = own(RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?);
    /// The members of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
    #[repr(C)]
    struct Info {
        program: i32,
        length: u32,
        info: u64,
    }
    /// Of the kernel's `struct bpf_prog_info`, so much as holds the name.
    const LENGTH: usize = 80;
    const NAME: std::ops::Range<usize> = 64..80;
    let mut info = [0_u8; LENGTH];
    let ask = Info { program: program.as_raw_fd(), length: LENGTH as u32, info: info.as_mut_ptr() as u64 };
    // SAFETY: `ask` has the length given with it; `info` has the length that it names, and the kernel writes no more. All
    // zero, it asks for nothing that lies elsewhere.
    if unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const ask, size_of::<Info>()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let name = info.get(NAME).unwrap_or_default();
    Ok(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

/// Takes a descriptor that the kernel has just made.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: each caller got the number from the call that opened it, and passes it on to no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Puts a program on a v2 cgroup and all below it; it goes with the cgroup.
///
/// # Errors
/// Those of bpf(2).
pub fn bpf_attach(kind: BpfKind, program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<()> {
    /// The members of `union bpf_attr` for `BPF_PROG_ATTACH`.
    #[repr(C)]
    struct Attach {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
    }
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attach = Attach {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: kind.attach_type(),
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attach` has the length given with it and holds two open descriptors, borrowed for the call.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Brings the loopback interface of this network namespace up, as `ip link set lo up` does.
///
/// # Errors
/// Those of the ioctl: `EPERM` without `CAP_NET_ADMIN`.
pub fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// `struct ifreq` as `SIOCSIFFLAGS` reads it.
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(b"lo");
    let request = InterfaceRequest { name, flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short, rest: [0; 22] };
    // SAFETY: `request` has the size and layout of the kernel's struct ifreq, which this request only reads.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
