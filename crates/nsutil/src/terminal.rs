//! Pseudo-terminals: a pair of descriptors that behaves like a terminal.
//!
//! Interactive programs need a terminal: for line editing, colours, Ctrl-C as a signal. The caller's own must not be
//! passed into a container, because a process that has it open can inject input (CVE-2017-5226). Instead a
//! pseudo-terminal is created from the container's own devpts: its *slave* is the terminal of the program inside, its
//! *master* goes to the caller, which copies between it and the real terminal. The real one is in *raw* mode meanwhile:
//! each key is passed through, including Ctrl-C, which becomes a signal inside.
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

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The caller's end: input is written here.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
}

/// A terminal in raw mode. Dropping it restores the previous mode.
#[derive(Debug)]
pub struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

/// Device numbers of a `ptmx` node: Documentation/admin-guide/devices.txt.
const PTMX: (u32, u32) = (5, 2);

impl Pty {
    /// Opens a new pair in the devpts mounted at `/dev/pts` below `root`, with this initial size.
    ///
    /// # Errors
    /// `ENOENT` without a devpts there; in words when `ptmx` is not the expected device; `ENOSPC` when all are in use.
    pub fn new(root: BorrowedFd<'_>, size: Option<Size>) -> Result<Self> {
        step!("pty",
            call: "master = open(\"/dev/pts/ptmx\"); slave = ioctl(master, TIOCGPTPEER); ioctl(slave, TIOCSWINSZ)";
            why: "the container gets its own terminal: through the caller's it could inject input";
            shell: "script -c COMMAND");
        let ptmx = Root::without_links(root)
            .open(Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY)
            .or_cannot("open", "/dev/pts/ptmx")?;
        if !is_character_device(ptmx.as_fd(), PTMX.0, PTMX.1)? {
            return Err(Error::new("open", "/dev/pts/ptmx", "it is not the expected device"));
        }
        rustix::pty::unlockpt(&ptmx).or_cannot("unlock", "the new terminal")?;
        // Through the master, not by path, which could name another file (CVE-2025-52565).
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&ptmx, flags).or_cannot("open", "the new terminal")?;
        if let Some(size) = size {
            set_size(ptmx.as_fd(), size)?;
        }
        Ok(Self { master: ptmx, slave })
    }
}

impl<'a> RawMode<'a> {
    /// Sets raw mode.
    ///
    /// # Errors
    /// `ENOTTY` when it is not a terminal.
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
        // Fails only if the terminal has been closed.
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
/// `ENOTTY` when it is not a terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size> {
    rustix::termios::tcgetwinsize(terminal).or_cannot("ask for the size of", "the terminal")
}

/// Sets its size; the foreground process at the other end gets SIGWINCH.
///
/// # Errors
/// `ENOTTY` when it is not a terminal.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    rustix::termios::tcsetwinsize(terminal, size).or_cannot("set the size of", "the terminal")
}

/// Makes `terminal` the caller's controlling terminal; the caller must be a session leader (setsid(2)).
///
/// # Errors
/// `EPERM` when the caller is not a session leader, or has a controlling terminal already.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).or_cannot("take as controlling terminal", "the new terminal")
}

/// Sends a descriptor over the socket.
///
/// # Errors
/// `EPIPE` when the other end is closed.
pub fn send_descriptor(descriptor: BorrowedFd<'_>, to: &UnixStream) -> Result<()> {
    let numbers = [descriptor.as_raw_fd()];
    // A message must contain at least one byte of data.
    let byte = [IoSlice::new(&[0])];
    sendmsg::<()>(to.as_raw_fd(), &byte, &[ControlMessage::ScmRights(&numbers)], MsgFlags::MSG_NOSIGNAL, None)
        .or_cannot("hand over", "the terminal")
        .map(drop)
}

/// Receives a descriptor from the socket; none if the other end was closed.
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
