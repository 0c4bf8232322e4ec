//! Terminals: a pair of descriptors that talks like a keyboard and a screen.
//!
//! A program that is to feel at a terminal needs one: line editing, colours, Ctrl-C as a signal. The caller's own must
//! not be handed into a container, for whoever holds it can type into it (CVE-2017-5226). A pseudo-terminal is made
//! there instead, from the container's own devpts: its *slave* is the terminal for the program inside, its *master*
//! goes out to the caller, who copies between it and the real one. The real one is *raw* meanwhile: each key goes
//! through as it is, also Ctrl-C, and the terminal inside makes the signal of it.
//!
//! Look: `tty`, `stty -a`, `ls -l /dev/pts`. Manual: pty(7), pts(4), termios(3), ioctl_tty(2), unix(7) for `SCM_RIGHTS`.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::error::{Error, OrCannot, Result};
use crate::mount::detached::is_character_device;
use crate::rooted::Root;
use crate::step;

/// Rows and columns of a terminal.
pub type Size = Winsize;

/// A pseudo-terminal: both its ends.
#[derive(Debug)]
pub struct Pty {
    /// The caller's end: what is written here is as if typed.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
}

/// A terminal in raw mode. Dropping it gives the terminal its old mode back.
#[derive(Debug)]
pub struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

/// Device numbers of a `ptmx` node: Documentation/admin-guide/devices.txt.
const PTMX: (u32, u32) = (5, 2);

impl Pty {
    /// A new pair of the devpts that is mounted at `/dev/pts` below `root`, of this size from the first moment.
    ///
    /// # Errors
    /// `ENOENT` without a devpts there; in words when `ptmx` is not the device it should be; `ENOSPC` when all are in use.
    pub fn new(root: BorrowedFd<'_>, size: Option<Size>) -> Result<Self> {
        step!("pty",
            call: "master = open(\"/dev/pts/ptmx\"); slave = ioctl(master, TIOCGPTPEER); ioctl(slave, TIOCSWINSZ)";
            why: "a terminal of the container's own: who holds the caller's could type into it";
            shell: "script -c COMMAND");
        let ptmx = Root::without_links(root)
            .open(Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY)
            .or_cannot("open", "/dev/pts/ptmx")?;
        if !is_character_device(ptmx.as_fd(), PTMX.0, PTMX.1)? {
            return Err(Error::new("open", "/dev/pts/ptmx", "it is another file of that name"));
        }
        rustix::pty::unlockpt(&ptmx).or_cannot("unlock", "the new terminal")?;
        // Through the master, not by a name that could be somebody else's (CVE-2025-52565).
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&ptmx, flags).or_cannot("open", "the new terminal")?;
        if let Some(size) = size {
            set_size(ptmx.as_fd(), size)?;
        }
        Ok(Self { master: ptmx, slave })
    }
}

impl<'a> RawMode<'a> {
    /// Puts the terminal into raw mode.
    ///
    /// # Errors
    /// `ENOTTY` when it is none.
    pub fn enter(terminal: BorrowedFd<'a>) -> Result<Self> {
        let before = rustix::termios::tcgetattr(terminal).or_cannot("read the mode of", "the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw).or_cannot("make raw", "the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // Fails only when the terminal is gone.
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Whether it is a terminal.
pub fn is_terminal(descriptor: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(descriptor)
}

/// Its size in rows and columns.
///
/// # Errors
/// `ENOTTY` when it is no terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size> {
    rustix::termios::tcgetwinsize(terminal).or_cannot("ask for the size of", "the terminal")
}

/// Sets its size; who works at the other end gets SIGWINCH.
///
/// # Errors
/// `ENOTTY` when it is no terminal.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    rustix::termios::tcsetwinsize(terminal, size).or_cannot("set the size of", "the terminal")
}

/// Makes `terminal` the one that the caller is controlled by; the caller must have begun a session (setsid(2)).
///
/// # Errors
/// `EPERM` when the caller leads no session, or has a terminal already.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).or_cannot("take as controlling terminal", "the new terminal")
}

/// Sends a descriptor to whoever holds the other end.
///
/// # Errors
/// `EPIPE` when nobody does.
pub fn send_descriptor(descriptor: BorrowedFd<'_>, to: &UnixStream) -> Result<()> {
    let numbers = [descriptor.as_raw_fd()];
    // A message of descriptors alone would be none: one byte goes with it.
    let byte = [IoSlice::new(&[0])];
    sendmsg::<()>(to.as_raw_fd(), &byte, &[ControlMessage::ScmRights(&numbers)], MsgFlags::MSG_NOSIGNAL, None)
        .or_cannot("hand over", "the terminal")
        .map(drop)
}

/// Receives the descriptor that the other end sends; none when that end has been closed instead.
///
/// # Errors
/// `EMFILE` when no descriptor is free.
pub fn receive_descriptor(from: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = loop {
        match recvmsg::<()>(from.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => (),
            outcome => break outcome.or_cannot("receive", "the terminal")?,
        }
    };
    for control in message.cmsgs().or_cannot("receive", "the terminal")? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            return Ok(numbers.first().map(|&number| crate::sys::take_ownership(number)));
        }
    }
    Ok(None)
}
