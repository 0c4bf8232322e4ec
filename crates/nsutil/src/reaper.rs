//! A minimal init: it forwards signals and reaps orphaned processes.
//!
//! Process 1 of a PID namespace has two duties that ordinary programs do not know. An orphan becomes its child, and
//! stays a zombie, which counts against every limit, until process 1 reaps it. And the kernel drops every signal for
//! which process 1 has no handler, so a program that relies on the default action of SIGTERM cannot be terminated. With
//! a reaper as process 1, the program is process 2 and behaves as usual.
//!
//! The reaper blocks all signals and reads them from a signalfd: blocked signals are not dropped. When its program
//! exits it exits with the same code, and the kernel kills what is left in the namespace.
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

/// Runs `program`, which ends in exec, in a child and stays as its reaper; exits with its code. `on_spawn` is called
/// after the fork, `on_exec` after the exec.
///
/// # Errors
/// The child's error; those of `on_spawn` and `on_exec`.
pub fn run_under_reaper(
    program: impl FnOnce(&mut Report) -> Result<Infallible>,
    on_spawn: impl FnOnce() -> Result<()>,
    on_exec: impl FnOnce() -> Result<()>,
) -> Result<Infallible> {
    step!("reaper", call: "clone3(0); read(signalfd); waitpid(-1)";
        why: "process 1 forwards signals and reaps orphans; the command is its child and has to do neither";
        shell: "tini -- COMMAND");
    // Signals that arrive before the child exists stay pending.
    SigSet::all().thread_block().or_cannot("hold back", "signals")?;
    let mut child = spawn(SpawnOptions::default(), |report| {
        become_foreground_group()?;
        program(report).map(|never| match never {})
    })?;
    on_spawn()?;
    child.wait_for_exec()?;
    // It only waits from now on. Where it may not read its own mappings, it just stays larger.
    let _ = release_clean_pages();
    on_exec()?;
    let pid = child.pid();
    child.release();
    sys::close_from_and_exit_with(3, || reap_until_end_of(pid).map_or(SETUP_FAILED, Exit::code))
}

/// Exit code when the reaper itself failed.
const SETUP_FAILED: i32 = 125;

fn reap_until_end_of(program: Pid) -> Result<Exit> {
    let process = PidFd::open(program)?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC).or_cannot("open", "signals")?;
    loop {
        // Also children that exited before the signalfd was opened.
        if let Some(exit) = reap(program)? {
            return Ok(exit);
        }
        let signal = signals.read_signal().or_cannot("read", "the signal that came")?;
        let signal = signal.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok());
        if let Some(signal) = signal.filter(|signal| *signal != Signal::SIGCHLD) {
            // It may just have exited: the next iteration notices.
            let _ = process.signal(signal);
        }
    }
}

/// Reaps every exited child; returns the status of `program` if it is one of them.
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

/// Makes the caller the foreground process group of its terminal, if it has one: Ctrl-C then reaches it and not the
/// reaper.
fn become_foreground_group() -> Result<()> {
    let Ok(terminal) = File::open("/dev/tty") else { return Ok(()) };
    rustix::process::setpgid(None, None).or_cannot("begin", "a process group")?;
    // SIGTTOU, which would stop a background caller, is blocked.
    rustix::termios::tcsetpgrp(terminal.as_fd(), rustix::process::getpid())
        .or_cannot("become the foreground process of", "the terminal")
}
