//! Staying with a process: signals go on to it, its terminal is copied to ours, and its exit code becomes ours.
//!
//! Without a terminal the process has the caller's own descriptors, and waiting is all there is to do, unless a file must
//! not be given to it (see [`super::relay`]). With one, bytes go both ways between the caller's terminal, which is raw meanwhile, and the one inside.
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

/// What a signal that conductor gets means for the process it stays with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessRole {
    /// The container's first process: signals that it has no handler for do not reach it, so it is killed instead.
    Init,
    /// Any other.
    Other,
}

/// Signals that are handed on.
#[derive(Debug)]
pub struct ForwardedSignals(TerminationSignals);

impl ForwardedSignals {
    /// From here on they wait to be handed on. To be called before the process is started.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn hold() -> Result<Self> {
        TerminationSignals::block_also(&[Signal::SIGWINCH, Signal::SIGUSR1, Signal::SIGUSR2]).map(Self)
    }
}

/// By what the caller and the process talk.
#[derive(Debug, Default)]
pub struct AttachedStreams {
    /// The caller's end of the process's terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// What it has in place of the caller's streams.
    pub replaced: ReplacedStdio,
    /// What it prints for files of the caller's.
    pub relays: Vec<Relay>,
}

/// Waits for the end of the process, staying with it until then. When the caller's terminal or stdout is gone, the process
/// gets a hang-up, as from a terminal whose line was cut, and its end is awaited all the same.
///
/// # Errors
/// Those of waitid(2), and when a signal cannot be handed on; the process is killed then.
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
                // That nobody reads any more is no mistake of anybody's.
                if error.errno() != Some(Errno::EPIPE) {
                    remark(line(&error));
                }
                forward_signal(Signal::SIGHUP, child.pidfd(), role)?;
            }
            // Who still holds the terminal inside gets a hang-up from the kernel now.
            drop(master);
            child.wait()
        }
    }
}

/// Hands a signal on, or, to a first process that would never notice, its meaning.
fn forward_signal(signal: Signal, process: &PidFd, role: ProcessRole) -> Result<()> {
    if signal == Signal::SIGWINCH {
        return Ok(());
    }
    let lost = role == ProcessRole::Init && !accepts_signal(process, SignalNumber::of(signal));
    let sent = if lost {
        remark(format_args!(
            "the container's first process has no handler for {signal}, and for process 1 the kernel then drops it: killing the container"
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

/// The copying: ends when the process has ended and what it wrote has been read.
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
        // Not asked about for nothing: a pipe whose writer is gone says so each time, wanted or not.
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
                // Nobody holds the terminal's other end any more: what is left is the end of the process itself.
                Ok(_) | Err(rustix::io::Errno::IO) => return wait_for_end(process, signals, role),
                Err(errno) => return Err(errno).or_cannot("read", "the terminal"),
            }
        }
        if at_end.contains(PollFlags::POLLIN) {
            // Before the end is believed, all is read.
            if may_be_more { continue } else { return Ok(()) }
        }
        // Between two parts of what is printed, too: nobody waits with Ctrl-C until a flood is over.
        if at_master.contains(PollFlags::POLLOUT) {
            input.write_to(master)?;
        }
        if !at_stdin.is_empty() {
            input.read(&mut buffer);
        }
    }
}

/// What is typed at the caller's stdin, on its way to the terminal inside.
struct StdinBuffer<'a> {
    stdin: BorrowedFd<'a>,
    is_open: bool,
    pending: VecDeque<u8>,
}

/// Ctrl-D, which a terminal takes for the end of input. See termios(3), `VEOF`.
const END_OF_INPUT: u8 = 4;
/// It is typed again after so many milliseconds.
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

    /// What a person types to say so. stdin is at its end for good, but a Ctrl-D is read once, and it is lost when its reader
    /// changes the terminal's mode: it is said again and again.
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
        // The caller's stdin is no terminal: there is no size to follow.
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
