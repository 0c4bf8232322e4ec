//! Network configuration: interfaces, addresses, routes, firewall.
//!
//! A new network namespace has one interface, `lo`, and it is down: nothing gets in or out. It is configured through
//! *netlink*, a socket that takes messages ("create a link", "add a route"); `ip` is a program that sends such
//! messages.
//!
//! | module | what it is about | manual |
//! |---|---|---|
//! | [`netns`] | the namespace, entered by a thread that ends there | network_namespaces(7) |
//! | [`link`] | interfaces; a veth pair connects two namespaces | veth(4), ip-link(8) |
//! | [`address`] | addresses, subnets, routes | ip-address(8), ip-route(8) |
//! | [`nat`] | the firewall's tables: filtering and address translation | iptables(8) |
//! | [`conntrack`] | connection tracking: deleting entries | conntrack(8) |
//! | [`sysctl`] | the settings under /proc/sys/net | sysctl(8) |
//!
//! A netlink socket belongs to the network namespace in which it was created. So [`Netlink`] has no parameter for the
//! namespace: it is that of the thread that opened it.
//!
//! Look: `ip -details link`, `strace -e sendto,recvmsg ip link`. Manual: netlink(7), rtnetlink(7).

pub mod address;
pub mod conntrack;
pub mod link;
pub mod nat;
pub mod netns;
pub mod sysctl;

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use rtnetlink::Handle;

use crate::error::{Cause, OrCannot, Result};

/// A netlink connection to the network namespace where it was opened.
///
/// It needs no thread: its runtime runs only during a call.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    runtime: tokio::runtime::Runtime,
}

impl Netlink {
    /// Connects to the caller's network namespace.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free; `EPROTONOSUPPORT` by a kernel without networking.
    pub fn open() -> Result<Self> {
        check_free_descriptors().or_cannot("open", "a netlink socket")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_cannot("open", "a netlink socket")?;
        let handle = {
            let _inside = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().or_cannot("open", "a netlink socket")?;
            runtime.spawn(connection);
            handle
        };
        Ok(Self { handle, runtime })
    }

    /// Runs a request and waits for the kernel's answer.
    fn ask<T>(&self, request: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, Cause> {
        self.runtime.block_on(request).map_err(Cause::from)
    }
}

/// Checks that enough descriptors are free for a runtime: built with its feature `signal`, as one program of this
/// workspace needs it, tokio panics otherwise.
fn check_free_descriptors() -> io::Result<()> {
    let _six = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    Ok(())
}

impl From<rtnetlink::Error> for Cause {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            // The kernel sends errno negated.
            rtnetlink::Error::NetlinkError(message) => Self::Kernel(Errno::from_raw(-message.raw_code())),
            other => Self::Words(other.to_string()),
        }
    }
}
