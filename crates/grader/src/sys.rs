//! Every `unsafe` of the grader, one call a function.
//!
//! What is here is here because no safe crate offers it: fork(2) in a process that may have threads, raw wait statuses
//! and signals (real-time signals, which a tracer must pass on, have no place in an enum), a filter for the calls that
//! are traced, and two BPF programs' worth of loading.

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

/// Gives `signal` its default action back: what a Rust program ignores (SIGPIPE), its children would ignore too.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no handler of ours, so no code can run in a signal's context.
    unsafe { nix::sys::signal::sigaction(signal, &default) }.map(drop)
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

/// Loads a filter that hands the calls numbered in `calls` to the tracer and lets every other one pass.
///
/// A process that has it and no tracer gets `ENOSYS` from those calls, so it is loaded last before the first exec.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without `CAP_SYS_ADMIN`.
pub fn trace_calls(calls: &[i64]) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // struct seccomp_data: the number at 0, the architecture at 4.
    let mut program =
        vec![step(LOAD, 0, 0, 4), step(IF_EQUAL, 1, 0, ARCH), step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW)];
    program.push(step(LOAD, 0, 0, 0));
    for nr in calls {
        program.push(step(IF_EQUAL, 0, 1, u32::try_from(*nr).unwrap_or(u32::MAX)));
        program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_TRACE));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let fprog = libc::sock_fprog { len: u16::try_from(program.len()).unwrap_or(0), filter: program.as_mut_ptr() };
    // SAFETY: `fprog` points into `program`, which outlives the call; the kernel copies and checks it.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const fprog) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

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

/// Loads a program that decides which device files the processes of a cgroup may open or make.
///
/// # Errors
/// Those of bpf(2): `EINVAL` where the kernel was built without it.
pub fn bpf_load_device_program(program: &[BpfStep]) -> io::Result<OwnedFd> {
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
    }
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let license = c"GPL";
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        steps: u32::try_from(program.len()).unwrap_or(0),
        program: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    // SAFETY: `load` has the length given with it; the program and the licence it points to outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(own(fd)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes a descriptor that the kernel has just made.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the only caller got the number from the call that opened it, and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Puts a device program on a v2 cgroup; it goes with the cgroup.
///
/// # Errors
/// Those of bpf(2).
pub fn bpf_attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<()> {
    /// The members of `union bpf_attr` for `BPF_PROG_ATTACH`.
    #[repr(C)]
    struct Attach {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
    }
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attach = Attach {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: BPF_CGROUP_DEVICE,
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
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(b"lo");
    let request = Request { name, flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short, rest: [0; 22] };
    // SAFETY: `request` has the size and layout of the kernel's struct ifreq, which this request only reads.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
