//! Whether a signal would reach a container's first process.
//!
//! What has the default disposition the kernel drops for process 1 of a PID namespace. It arrives where there is a handler,
//! or where it is held back to be read later: by signalfd(2), or by sigwait(3), as reapers do.
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

/// Whether a process has a handler for a signal, or holds it back to read it later; one that has ended has none.
///
/// A process at work may hold signals back for the moment in which it makes another (posix_spawn(3) does, and each shell):
/// that is no reader. It is looked at until it lets go of them or sleeps.
pub fn accepts_signal(process: &PidFd, signal: SignalNumber) -> bool {
    let bit = 1_u64 << (signal.get() - 1).clamp(0, 63);
    let start = Instant::now();
    loop {
        let Ok(process) = Process::new(process.pid().as_raw()) else { return false };
        let Ok(status) = status(&process) else { return false };
        let is_blocked = status.sigblk & bit != 0;
        // R runs, D waits for what no signal ends, such as the child of a vfork(2) that has not called execve(2) yet.
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
            // One look at who is at work says nothing.
            (_, true) => (),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Who is at work for so long with a signal held back does it on purpose.
const BUSY_LIMIT: Duration = Duration::from_secs(1);

/// Who was woken up in sigwait(3) has its own mask again when it comes to run, at the latest after such a time.
const WAKE_UP_LIMIT: Duration = Duration::from_millis(250);

/// Its name there is of bytes, and need not be text.
fn status(process: &Process) -> ProcResult<Status> {
    let mut bytes = Vec::new();
    process.open_relative("status")?.read_to_end(&mut bytes)?;
    Status::from_buf_read(String::from_utf8_lossy(&bytes).as_bytes())
}

/// The signals that a sleeping process waits for in sigwait(3), one bit each; the kernel does not list them as held back while
/// it does. None when it has woken up meanwhile.
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
