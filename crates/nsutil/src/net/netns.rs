//! Network namespaces, entered for a moment.
//!
//! A thread must be in a namespace to create an interface there. `setns` moves only the calling *thread*, so a new
//! thread joins, works, and ends; the caller stays in its namespace even if something fails.
//!
//! Look: `nsenter --target PID --net ip address`. Manual: network_namespaces(7), setns(2).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use crate::error::{Error, OrCannot, Result};
use crate::namespace::{self, Kind};
use crate::process::PidFd;

/// The network namespace of another process.
#[derive(Debug, Clone, Copy)]
pub struct NetNs<'a> {
    holder: &'a PidFd,
}

/// A descriptor of the caller's network namespace, as a target for links.
#[derive(Debug)]
pub struct OwnNetNs(File);

impl<'a> NetNs<'a> {
    /// The network namespace of this process.
    pub fn of(holder: &'a PidFd) -> Self {
        Self { holder }
    }

    /// Runs `work` in it, on a thread that ends with it.
    ///
    /// The thread has ended when this returns: the caller may fork again.
    ///
    /// # Errors
    /// `ESRCH` when the process has ended; `EPERM` without `CAP_SYS_ADMIN`; those of `work`.
    pub fn run<T: Send>(self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let visit = scope.spawn(|| {
                namespace::join(self.holder, &[Kind::Net])?;
                work()
            });
            visit.join().unwrap_or_else(|_| {
                Err(Error::new("work in", "another network namespace", "the thread there panicked"))
            })
        })
    }
}

impl OwnNetNs {
    /// A descriptor of the caller's network namespace.
    ///
    /// # Errors
    /// `ENOENT` when /proc is not mounted; `EMFILE` when no descriptor is free.
    pub fn open() -> Result<Self> {
        // Not /proc/self: that is the main thread, which may be in another namespace.
        let path = "/proc/thread-self/ns/net";
        File::open(path).map(Self).or_cannot("open", path)
    }
}

impl AsFd for OwnNetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
