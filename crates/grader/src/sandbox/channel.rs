//! The socket between the grader and the box's init: whole messages, and descriptors that travel with them.
//!
//! A socket pair that keeps message boundaries (`SOCK_SEQPACKET`) carries JSON; `SCM_RIGHTS` passes open files.
//! With `SO_PASSCRED` the kernel adds the sender's process id, translated into the receiver's PID namespace: so the grader
//! learns its own number of a process that is number 2 in the box.
//! Look: `ss -xp`. Manual: unix(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message: a command line, or an error.
const LONGEST: usize = 64 * 1024;
/// Most descriptors in one message.
const MOST_FDS: usize = 4;

/// One end of the line.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// A message, the descriptors that came with it, and its sender as the receiver numbers processes.
#[derive(Debug)]
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// Open files that came with it.
    pub fds: Vec<OwnedFd>,
    /// The sender's process id.
    pub sender: Option<i32>,
}

impl Channel {
    /// Two connected ends, ours first; none survives an exec.
    ///
    /// Only our end gets credentials: a sender outside the receiver's PID namespace would come out as process 0.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_passcred(&a, true)?;
        Ok((Channel { socket: a }, Channel { socket: b }))
    }

    /// Wraps an end that came over another channel.
    pub fn from_fd(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// Sends `message` with `fds`.
    ///
    /// # Errors
    /// Those of sendmsg(2): `EPIPE` when the other end is gone.
    pub fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("too many descriptors in one message"));
        }
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the next message; `None` when the other end is closed.
    ///
    /// # Errors
    /// Those of recvmsg(2), and a message that is not a `T`.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?.bytes,
            }
        };
        if got == 0 {
            return Ok(None);
        }
        let (mut fds, mut sender) = (Vec::new(), None);
        for part in control.drain() {
            match part {
                RecvAncillaryMessage::ScmRights(files) => fds.extend(files),
                RecvAncillaryMessage::ScmCredentials(who) => sender = Some(who.pid.as_raw_nonzero().get()),
                _ => {}
            }
        }
        let message = serde_json::from_slice(bytes.get(..got).unwrap_or_default())?;
        Ok(Some(Received { message, fds, sender }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
