//! A first process that is nothing else: it hands signals on, and takes the exit status of whoever is left to it.
//!
//! Process 1 of a PID namespace has two duties that ordinary programs do not know of. An orphan becomes its child, and
//! stays a zombie, with a number that counts against every limit, until process 1 has waited for it. And the kernel
//! drops every signal that process 1 has no handler for, so a program that relies on the default action of SIGTERM
//! cannot be asked to end. With a reaper in front, the program is process 2 and may be as it always was.
//!
//! The reaper blocks all signals and reads them from a descriptor: a blocked one is not dropped. When its program ends
//! it ends too, with the same code, and the kernel kills whatever is left in the namespace.
//!
//! Look: `ps -e -o pid,ppid,stat,comm` in a container with and without `--init`. Manual: pid_namespaces(7), signalfd(2),
//! wait(2).

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{OrCannot, Result};
use crate::process::{Exit, PidFd, Report, SpawnOptions, release_clean_pages, spawn};
use crate::{step, sys};

/// Has `program` run in a child that becomes another program, and stays as its reaper until it ends; then the caller
/// ends with its code. `on_spawn` is done when there is a child, `on_exec` when it has become that program.
///
/// # Errors
/// The child's own, when it could not become the program; those of `on_spawn` and `on_exec`.
pub fn run_under_reaper(
    program: impl FnOnce(&mut Report) -> Result<Infallible>,
    on_spawn: impl FnOnce() -> Result<()>,
    on_exec: impl FnOnce() -> Result<()>,
) -> Result<Infallible> {
    step!("reaper", call: "clone3(0); read(signalfd); waitpid(-1)";
        why: "process 1 hands signals on and reaps orphans; the command is its child and needs to do neither";
        shell: "tini -- COMMAND");
    // From here on: whatever comes before the child can be told waits.
    SigSet::all().thread_block().or_cannot("hold back", "signals")?;
    let mut child = spawn(SpawnOptions::default(), |report| {
        become_foreground_group()?;
        program(report).map(|never| match never {})
    })?;
    on_spawn()?;
    child.wait_for_exec()?;
    // It only waits from here on. Where it may not look at itself (another user's process that nobody may trace), it is
    // only larger.
    let _ = release_clean_pages();
    on_exec()?;
    let pid = child.pid();
    child.release();
    sys::close_from_and_exit_with(3, || reap_until_end_of(pid).map_or(SETUP_FAILED, Exit::code))
}

/// Exit code when the reaper itself could not do its part.
const SETUP_FAILED: i32 = 125;

fn reap_until_end_of(program: Pid) -> Result<Exit> {
    let process = PidFd::open(program)?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC).or_cannot("open", "signals")?;
    loop {
        // Also what ended before the descriptor was there.
        if let Some(exit) = reap(program)? {
            return Ok(exit);
        }
        let signal = signals.read_signal().or_cannot("read", "the signal that came")?;
        let signal = signal.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok());
        if let Some(signal) = signal.filter(|signal| *signal != Signal::SIGCHLD) {
            // It may have ended just now: the next turn sees that.
            let _ = process.signal(signal);
        }
    }
}

/// Takes the status of every child that has ended, and tells that of `program` if it is one of them.
fn reap(program: Pid) -> Result<Option<Exit>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Ok(Some(Exit::Code(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => return Ok(Some(Exit::Signal(signal))),
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => (),
            Err(errno) => return Err(errno).or_cannot("wait for", "children"),
        }
    }
}

/// Puts the caller in front of its terminal, if it has one: Ctrl-C is then for it and not for the reaper as well.
fn become_foreground_group() -> Result<()> {
    let Ok(terminal) = File::open("/dev/tty") else { return Ok(()) };
    rustix::process::setpgid(None, None).or_cannot("begin", "a process group")?;
    // All signals are blocked, SIGTTOU among them, which would stop who asks from behind.
    rustix::termios::tcsetpgrp(terminal.as_fd(), rustix::process::getpid())
        .or_cannot("step in front of", "the terminal")
}
