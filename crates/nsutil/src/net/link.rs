//! Links: network interfaces, and veth pairs.
//!
//! What is sent into one end of a veth pair comes out of the other, and the ends may be in different namespaces, like a
//! cable between two machines. When either end is deleted (with its namespace, when its last process exits), the other
//! follows a moment later.
//!
//! Look: `ip -details link show type veth`. Manual: veth(4), ip-link(8).

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, State};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, MulticastGroup};

use super::Netlink;
use super::netns::OwnNetNs;
use crate::error::{Cause, Error, OrCannot, Result};
use crate::step;

/// Longest name of a link, in bytes: the kernel's `IFNAMSIZ` less its NUL.
pub const LONGEST_NAME: usize = 15;
/// A veth pair whose ends are both up carries packets within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A veth pair. Dropping it deletes it, unless it was kept.
#[derive(Debug)]
#[must_use = "dropping it deletes the pair"]
pub struct Veth {
    /// Either end may be the one in the current namespace.
    ends: Option<VethNames>,
}

/// The names of the two ends of a veth pair.
#[derive(Debug, Clone)]
pub struct VethNames {
    /// The end in the caller's namespace.
    pub here: String,
    /// The end in the other namespace.
    pub there: String,
}

impl Veth {
    /// Leaves the pair in place until one of its namespaces ends.
    pub fn keep(mut self) {
        self.ends = None;
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            // One of the two is here, and deleting it deletes the other. Errors cannot be returned.
            let _ = Netlink::open().and_then(|netlink| netlink.delete(&ends.here).and(netlink.delete(&ends.there)));
        }
    }
}

impl Netlink {
    /// Creates a veth pair with one end here and one in the namespace `there`.
    ///
    /// # Errors
    /// `EEXIST` when a link of one of the names exists; `ERANGE` for a name longer than [`LONGEST_NAME`];
    /// `EOPNOTSUPP` when the kernel has no veth.
    pub fn add_veth(&self, ends: &VethNames, there: &OwnNetNs) -> Result<Veth> {
        let VethNames { here, there: other } = ends;
        step!("link.veth",
            call: "sendto(netlink, RTM_NEWLINK {{ kind veth, \"{here}\", peer \"{other}\" in the host's namespace }})";
            why: "a veth pair with one end in each network namespace: the container's only connection";
            shell: "ip link add {here} type veth peer name {other} netns 1");
        let peer =
            LinkMessageBuilder::<LinkUnspec>::new().name(other.as_str()).setns_by_fd(there.as_fd().as_raw_fd()).build();
        let message = LinkVeth::new(here, other).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        self.ask(self.handle.link().add(message).execute())
            .or_cannot("make the veth pair", format_args!("{here}, {other}"))
            .map_err(|error| match error.errno() {
                Some(Errno::EOPNOTSUPP) => error.hint("this kernel has no veth: try `modprobe veth`"),
                _ => error,
            })?;
        Ok(Veth { ends: Some(ends.clone()) })
    }

    /// The index of a link; none if it does not exist.
    ///
    /// # Errors
    /// Those of netlink(7), except `ENODEV`.
    pub fn find(&self, name: &str) -> Result<Option<u32>> {
        match self.ask(self.index(name)) {
            Ok(index) => Ok(Some(index)),
            Err(Cause::Kernel(Errno::ENODEV | Errno::ERANGE)) => Ok(None),
            Err(cause) => Err(Error::new("look for link", name, cause)),
        }
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// `ENODEV` when it does not exist.
    pub fn set_up(&self, name: &str) -> Result<()> {
        step!("link.up",
            call: "sendto(netlink, RTM_NEWLINK {{ \"{name}\", IFF_UP }})";
            why: "every new interface is down, including lo";
            shell: "ip link set {name} up");
        let message = LinkUnspec::new_with_name(name).up().build();
        self.ask(self.handle.link().change(message).execute()).or_cannot("set up link", name)
    }

    /// Waits until a link that was set up carries packets: for a moment it drops them.
    ///
    /// # Errors
    /// `ETIMEDOUT` when its other end is not up within a few seconds; `ENODEV` when the link does not exist.
    pub fn wait_until_up(&self, name: &str) -> Result<()> {
        let carries = self.runtime.block_on(async {
            // Subscribe before the first query, so that no event is missed.
            let (connection, _, mut news) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
            tokio::spawn(connection);
            let settled = async {
                while !self.is_up(name).await? {
                    news.next().await;
                }
                Ok(())
            };
            tokio::time::timeout(TIMEOUT, settled).await.unwrap_or(Err(Cause::Kernel(Errno::ETIMEDOUT)))
        });
        carries.or_cannot("wait for link", name)
    }

    /// Whether the link exists and carries packets.
    ///
    /// # Errors
    /// Those of netlink(7), except `ENODEV`.
    pub fn is_on(&self, name: &str) -> Result<bool> {
        match self.runtime.block_on(self.is_up(name)) {
            Ok(is_up) => Ok(is_up),
            Err(Cause::Kernel(Errno::ENODEV | Errno::ERANGE)) => Ok(false),
            Err(cause) => Err(Error::new("look at link", name, cause)),
        }
    }

    /// Sets the alias of a link, a description of up to 255 bytes shown by `ip link`.
    ///
    /// # Errors
    /// `ENODEV` when it does not exist.
    pub fn set_alias(&self, name: &str, alias: &str) -> Result<()> {
        step!("link.alias",
            call: "sendto(netlink, RTM_NEWLINK {{ \"{name}\", IFLA_IFALIAS \"{alias}\" }})";
            why: "a link's name has at most 15 bytes; the alias holds the full container name";
            shell: "ip link set {name} alias {alias}");
        let message = LinkUnspec::new_with_name(name).alias(alias).build();
        self.ask(self.handle.link().change(message).execute()).or_cannot("set the alias of link", name)
    }

    /// Deletes a link, and the other end if it is a veth pair; does nothing if it does not exist.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a link that cannot be deleted, such as `lo`.
    pub fn delete(&self, name: &str) -> Result<()> {
        let Some(index) = self.find(name)? else { return Ok(()) };
        step!("link.delete",
            call: "sendto(netlink, RTM_DELLINK {{ \"{name}\" }})";
            why: "deleting one end deletes the whole pair with its addresses and routes";
            shell: "ip link delete {name}");
        match self.ask(self.handle.link().del(index).execute()) {
            // It was deleted meanwhile, with the namespace of its other end.
            Ok(()) | Err(Cause::Kernel(Errno::ENODEV)) => Ok(()),
            Err(cause) => Err(Error::new("delete link", name, cause)),
        }
    }

    async fn is_up(&self, name: &str) -> Result<bool, Cause> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await?;
        let attributes = found.into_iter().flat_map(|link| link.attributes);
        Ok(attributes.into_iter().any(|attribute| attribute == LinkAttribute::OperState(State::Up)))
    }

    /// The index of a link by its name.
    async fn index(&self, name: &str) -> Result<u32, rtnetlink::Error> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await?;
        found.map(|link| link.header.index).ok_or(rtnetlink::Error::RequestFailed)
    }
}
