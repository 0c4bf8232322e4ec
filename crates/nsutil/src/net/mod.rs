//! A network of one's own: interfaces, addresses, routes, and what the firewall lets pass between them.
//!
//! A new network namespace holds one interface, `lo`, and it is down: nothing gets in or out. What makes a network of it
//! is told to the kernel over *netlink*, a socket that speaks in messages ("make a link", "add a route") instead of
//! system calls with a number for each; `ip` is a program that writes such messages.
//!
//! | module | the kernel's noun | manual |
//! |---|---|---|
//! | [`netns`] | the namespace: entered by a thread that ends there | network_namespaces(7) |
//! | [`link`] | interfaces; a veth pair is a cable between two namespaces | veth(4), ip-link(8) |
//! | [`address`] | addresses, subnets, routes | ip-address(8), ip-route(8) |
//! | [`nat`] | the firewall's tables: what passes, and under which address | iptables(8) |
//! | [`conntrack`] | the connections that the firewall remembers | conntrack(8) |
//! | [`sysctl`] | the knobs under /proc/sys/net | sysctl(8) |
//!
//! A netlink socket belongs for ever to the network namespace in which it was made. That is why [`Netlink`] has no
//! parameter for the namespace: it is the one its opener stood in.
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

/// A line to the kernel's network configuration, in the network namespace where it was opened.
///
/// It takes no thread: the runtime that the crate wants runs only while a call waits for its answer.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    runtime: tokio::runtime::Runtime,
}

impl Netlink {
    /// Opens a line to the caller's network namespace.
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

    /// Sends what `request` sends, and waits for the kernel's answer.
    fn ask<T>(&self, request: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, Cause> {
        self.runtime.block_on(request).map_err(Cause::from)
    }
}

/// Whether as many descriptors are free as a runtime takes. Where it is built with its feature `signal`, as one of this
/// workspace's programs wants it, tokio panics when they are not.
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
