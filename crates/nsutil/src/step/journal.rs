//! Records the steps of a program and of all processes that it creates, so that they can be drawn afterwards.
//!
//! Each process sends its steps through a socket to the process that began the journal. The kernel adds the sender's
//! PID in the reader's PID namespace (`SCM_CREDENTIALS`, unix(7)): a process in a container may see itself as process
//! 1.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{PassCred, SndBufForce};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg, send, setsockopt,
    socketpair,
};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{StepText, TARGET};
use crate::error::{OrCannot, Result};

/// Size of the socket's send buffer in bytes: more than all steps of a build.
const BYTES: usize = 8 << 20;
/// Maximum length of a step in bytes; a longer one is truncated.
const LONGEST: usize = 8 << 10;
/// Separates the texts of a step, which do not contain it.
const SEPARATOR: char = '\0';

/// A record of the steps since [`Journal::begin`].
#[derive(Debug)]
pub struct Journal(OwnedFd);

/// An announced step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// PID of the process that took it, in the reader's PID namespace.
    pub pid: i32,
    /// PID of the same process in its own PID namespace.
    pub own_pid: i32,
    /// The system call with its arguments.
    pub call: String,
    /// Why it is needed.
    pub why: String,
}

struct Sender(OwnedFd);

impl Journal {
    /// Begins to record the steps of this process and of the children it forks. Has no effect if there is a subscriber
    /// already.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free; `EPERM` without `CAP_NET_ADMIN`.
    pub fn begin() -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (reader, sender) = pair.or_cannot("make", "a pair of sockets")?;
        setsockopt(&reader, PassCred, &true).or_cannot("ask a socket for", "its senders")?;
        setsockopt(&sender, SndBufForce, &BYTES).or_cannot("enlarge", "a socket")?;
        let listener = tracing_subscriber::registry().with(Sender(sender));
        // Fails only if there is a subscriber already, which then gets the steps.
        let _ = tracing::subscriber::set_global_default(listener);
        Ok(Self(reader))
    }

    /// The steps so far, in the order in which they were announced.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            let (mut buffer, mut control) = (vec![0; LONGEST], cmsg_space!(UnixCredentials));
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT);
            let received = match received {
                Err(Errno::EAGAIN) => return Ok(entries),
                Err(Errno::EINTR) => continue,
                received => received.or_cannot("read", "the journal of steps")?,
            };
            let mut messages = received.cmsgs().or_cannot("read", "the senders of steps")?;
            let sender = messages.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
                _ => None,
            });
            let length = received.bytes;
            if length == 0 {
                return Ok(entries);
            }
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            let mut texts = text.split(SEPARATOR);
            if let (Some(pid), Some(own), Some(call), Some(why)) = (sender, texts.next(), texts.next(), texts.next()) {
                let own_pid = own.parse().unwrap_or(pid);
                entries.push(Entry { pid, own_pid, call: call.to_owned(), why: why.to_owned() });
            }
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Sender {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut text = StepText::default();
        event.record(&mut text);
        let own = std::process::id();
        let mut bytes = format!("{own}{SEPARATOR}{}{SEPARATOR}{}", text.call, text.why).into_bytes();
        bytes.truncate(LONGEST);
        // Failure to record a step does not stop the work.
        let _ = send(self.0.as_fd().as_raw_fd(), &bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
}
