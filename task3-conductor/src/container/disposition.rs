//! Whether a container's first process would receive a signal.
//!
//! For process 1 of a PID namespace the kernel drops signals with default disposition. A signal arrives if there is a
//! handler, or if it is blocked to be read later, by signalfd(2) or sigwait(3), as reapers do.
//!
//! Look: `grep Sig /proc/PID/status`. Manual: signal(7), pid_namespaces(7) "the namespace's init process",
//! proc_pid_status(5), proc_pid_syscall(5).

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nsutil::process::{PidFd, SignalNumber};
use procfs::process::{Process, Status, Syscall};
use procfs::{FromBufRead, ProcResult};

/// Whether a process has a handler for a signal or has it blocked to read it; false if it has exited.
///
/// Three states have to be distinguished, and one look at /proc does not suffice. posix_spawn(3) and shells block all
/// signals for the moment of a fork: that is not a reader, so a busy process is observed until it unblocks them or
/// sleeps. A thread in sigwait(3) has its signals unblocked while it sleeps: they are read from the arguments of its
/// system call. And right after it was woken its mask is not yet restored: a busy process without the signal blocked is
/// given a moment. Without this, `stop` would wait ten seconds for a shell, or kill `tini`-like programs without
/// asking.
pub fn accepts_signal(process: &PidFd, signal: SignalNumber) -> bool {
    let bit = 1_u64 << (signal.get() - 1).clamp(0, 63);
    let start = Instant::now();
    loop {
        let Ok(process) = Process::new(process.pid().as_raw()) else { return false };
        let Ok(status) = status(&process) else { return false };
        let is_blocked = status.sigblk & bit != 0;
        // R: running. D: uninterruptible, such as a vfork(2) parent whose child has not called execve(2) yet.
        let is_busy = status.state.starts_with(['R', 'D']);
        if status.sigcgt & bit != 0 || start.elapsed() > BUSY_LIMIT {
            return (status.sigcgt | status.sigblk) & bit != 0;
        }
        match (is_blocked, is_busy) {
            (true, false) => return true,
            (false, false) => match signals_in_sigwait(&process) {
                Ok(Some(signals)) => return signals & bit != 0,
                Ok(None) => (),
                Err(_) => return false,
            },
            (false, true) if start.elapsed() > WAKE_UP_LIMIT => return false,
            // Busy: observe again.
            (_, true) => (),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A process that keeps a signal blocked for this long while busy does so on purpose.
const BUSY_LIMIT: Duration = Duration::from_secs(1);

/// A process woken in sigwait(3) restores its mask within this time.
const WAKE_UP_LIMIT: Duration = Duration::from_millis(250);

/// The process name in it need not be UTF-8.
fn status(process: &Process) -> ProcResult<Status> {
    let mut bytes = Vec::new();
    process.open_relative("status")?.read_to_end(&mut bytes)?;
    Status::from_buf_read(String::from_utf8_lossy(&bytes).as_bytes())
}

/// The signals a sleeping process waits for in sigwait(3), as a bit mask; the kernel does not list them as blocked
/// meanwhile. None if it has woken up.
fn signals_in_sigwait(process: &Process) -> ProcResult<Option<u64>> {
    match process.syscall()? {
        Syscall::Blocked { syscall_number: libc::SYS_rt_sigtimedwait, argument_registers: [set, ..], .. } => {
            let mut signals = [0; 8];
            process.mem()?.read_exact_at(&mut signals, set)?;
            Ok(Some(u64::from_ne_bytes(signals)))
        }
        Syscall::Blocked { .. } => Ok(Some(0)),
        _ => Ok(None),
    }
}
