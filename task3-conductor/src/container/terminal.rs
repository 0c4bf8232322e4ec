//! Stays with an attached process: forwards signals, relays its terminal, and returns its exit code.
//!
//! Without a terminal the process has the caller's streams, and only waiting is left, except for files (see
//! [`super::relay`]). With one, data is copied both ways between the caller's terminal, in raw mode, and the
//! container's.
//!
//! Manual: poll(2), termios(3), signalfd(2), pidfd_open(2).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nsutil::error::{OrCannot, Result, line};
use nsutil::process::{Child, Exit, PidFd, SignalNumber, TerminationSignals};
use nsutil::terminal::{self, RawMode, is_terminal};

use super::disposition::accepts_signal;
use super::relay::{self, Relay, ReplacedStdio};
use crate::output::failure::remark;

/// How signals that conductor receives are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessRole {
    /// The container's first process: signals without a handler would be dropped, so it is killed instead.
    Init,
    /// Any other process.
    Other,
}

/// Signals to forward.
#[derive(Debug)]
pub struct ForwardedSignals(TerminationSignals);

impl ForwardedSignals {
    /// Blocks them until they are forwarded. Call it before starting the process.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn hold() -> Result<Self> {
        TerminationSignals::block_also(&[Signal::SIGWINCH, Signal::SIGUSR1, Signal::SIGUSR2]).map(Self)
    }
}

/// The streams between the caller and the process.
#[derive(Debug, Default)]
pub struct AttachedStreams {
    /// The master of the process's terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// Replacements of the caller's streams.
    pub replaced: ReplacedStdio,
    /// Relays to the caller's files.
    pub relays: Vec<Relay>,
}

/// Waits until the process exits, forwarding signals and data. If the caller's terminal or stdout is closed, the
/// process gets SIGHUP, and its exit is awaited all the same.
///
/// # Errors
/// Those of waitid(2), and when a signal cannot be forwarded; the process is killed then.
pub fn attach_until_exit(
    child: Child,
    streams: AttachedStreams,
    mut signals: ForwardedSignals,
    role: ProcessRole,
) -> Result<Exit> {
    match streams.terminal {
        None => {
            let stdin = streams.replaced.close();
            let wait = || wait_for_end(child.pidfd(), &mut signals, role);
            let copied = relay::copy_while(streams.relays, child.pidfd(), wait);
            relay::restore_stdin_offset(stdin);
            let ((), open) = copied?;
            let exit = child.wait()?;
            if role == ProcessRole::Other {
                relay::copy_in_background(open)?;
            }
            Ok(exit)
        }
        Some(master) => {
            let (stdin, stdout) = (io::stdin(), io::stdout());
            let raw = is_terminal(stdin.as_fd()).then(|| RawMode::enter(stdin.as_fd())).transpose();
            let copied =
                raw.and_then(|_raw| copy(child.pidfd(), &master, stdin.as_fd(), stdout.as_fd(), &mut signals, role));
            if let Err(error) = copied {
                // A closed reader (EPIPE) is not an error.
                if error.errno() != Some(Errno::EPIPE) {
                    remark(line(&error));
                }
                forward_signal(Signal::SIGHUP, child.pidfd(), role)?;
            }
            // Closing the master sends SIGHUP to processes still using the terminal inside.
            drop(master);
            child.wait()
        }
    }
}

/// Forwards a signal; kills a first process that would not receive it.
fn forward_signal(signal: Signal, process: &PidFd, role: ProcessRole) -> Result<()> {
    if signal == Signal::SIGWINCH {
        return Ok(());
    }
    let lost = role == ProcessRole::Init && !accepts_signal(process, SignalNumber::of(signal));
    let sent = if lost {
        remark(format_args!(
            "the container's first process has no handler for {signal}, so the kernel would drop it: killing the container"
        ));
        process.signal(Signal::SIGKILL)
    } else {
        process.signal(signal)
    };
    match sent {
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// Copies until the process has exited and its output has been read.
fn copy(
    process: &PidFd,
    master: &OwnedFd,
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    signals: &mut ForwardedSignals,
    role: ProcessRole,
) -> Result<()> {
    rustix::io::ioctl_fionbio(master, true).or_cannot("prepare", "the terminal")?;
    let mut input = StdinBuffer { stdin, is_open: true, pending: VecDeque::new() };
    let mut buffer = vec![0; 16 << 10];
    loop {
        let to_master =
            if input.pending.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
        let mut ends = [
            PollFd::new(master.as_fd(), to_master),
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(process.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin, PollFlags::POLLIN),
        ];
        // Poll stdin only while it is wanted: a hung-up pipe reports POLLHUP on every call.
        let polled_count = if input.is_open && input.pending.is_empty() { 4 } else { 3 };
        match poll(ends.split_at_mut(polled_count).0, input.poll_timeout()) {
            Err(Errno::EINTR) => continue,
            Ok(0) => input.send_end_of_input(),
            polled => drop(polled.or_cannot("wait for", "the terminal")?),
        }
        let [at_master, at_signals, at_end, at_stdin] = ends.map(|end| end.revents().unwrap_or(PollFlags::empty()));
        if at_signals.contains(PollFlags::POLLIN) {
            match signals.0.take()? {
                Some(Signal::SIGWINCH) => copy_size(stdin, master)?,
                Some(signal) => forward_signal(signal, process, role)?,
                None => (),
            }
        }
        let mut may_be_more = false;
        if at_master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            match rustix::io::read(master, &mut buffer) {
                Ok(count) if count > 0 => {
                    write_all(stdout, buffer.get(..count).unwrap_or_default())?;
                    may_be_more = true;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => (),
                // All slaves are closed: only wait for the process to exit.
                Ok(_) | Err(rustix::io::Errno::IO) => return wait_for_end(process, signals, role),
                Err(errno) => return Err(errno).or_cannot("read", "the terminal"),
            }
        }
        if at_end.contains(PollFlags::POLLIN) {
            // Read all remaining output before finishing.
            if may_be_more { continue } else { return Ok(()) }
        }
        // Also between two pieces of output, so that Ctrl-C is not delayed by a flood.
        if at_master.contains(PollFlags::POLLOUT) {
            input.write_to(master)?;
        }
        if !at_stdin.is_empty() {
            input.read(&mut buffer);
        }
    }
}

/// Input from the caller's stdin for the container's terminal.
struct StdinBuffer<'a> {
    stdin: BorrowedFd<'a>,
    is_open: bool,
    pending: VecDeque<u8>,
}

/// Ctrl-D, which a terminal takes for the end of input. See termios(3), `VEOF`.
const END_OF_INPUT: u8 = 4;
/// It is sent again after this many milliseconds.
const RESEND_AFTER_MS: u8 = 200;

impl StdinBuffer<'_> {
    fn read(&mut self, buffer: &mut [u8]) {
        match rustix::io::read(self.stdin, &mut *buffer) {
            Ok(count) if count > 0 => self.pending.extend(buffer.iter().take(count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => (),
            Ok(_) | Err(_) => {
                self.is_open = false;
                self.send_end_of_input();
            }
        }
    }

    /// Sends Ctrl-D, the end of input of a terminal. Unlike the end of a pipe it is an event: one read consumes it, and
    /// it is lost if a program changes the terminal's mode first (readline does, and so does every program started
    /// later by a shell). So it is sent again while stdin stays at its end. Sending it once would make `echo ls |
    /// conductor exec -t eg` hang.
    fn send_end_of_input(&mut self) {
        if self.pending.is_empty() {
            self.pending.push_back(END_OF_INPUT);
        }
    }

    fn poll_timeout(&self) -> PollTimeout {
        if self.is_open { PollTimeout::NONE } else { PollTimeout::from(RESEND_AFTER_MS) }
    }

    fn write_to(&mut self, master: &OwnedFd) -> Result<()> {
        let (front, _) = self.pending.as_slices();
        match rustix::io::write(master, front) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => (),
            Err(errno) => return Err(errno).or_cannot("write to", "the terminal"),
        }
        Ok(())
    }
}

fn wait_for_end(process: &PidFd, signals: &mut ForwardedSignals, role: ProcessRole) -> Result<()> {
    while let Some(signal) = signals.0.wait_for_signal_or_end(process)? {
        forward_signal(signal, process, role)?;
    }
    Ok(())
}

fn copy_size(from: BorrowedFd<'_>, master: &OwnedFd) -> Result<()> {
    match terminal::size(from) {
        Ok(size) => terminal::set_size(master.as_fd(), size),
        // The caller's stdin is not a terminal: there is no size to copy.
        Err(_) => Ok(()),
    }
}

fn write_all(to: BorrowedFd<'_>, mut text: &[u8]) -> Result<()> {
    while !text.is_empty() {
        match rustix::io::write(to, text) {
            Ok(count) => text = text.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => (),
            Err(rustix::io::Errno::AGAIN) => {
                let mut end = [PollFd::new(to, PollFlags::POLLOUT)];
                poll(&mut end, PollTimeout::NONE).or_cannot("wait for", "stdout")?;
            }
            Err(errno) => return Err(errno).or_cannot("write to", "stdout"),
        }
    }
    Ok(())
}
