//! Links: network interfaces, and the veth pair that is a cable between two of them.
//!
//! What is sent into one end of a veth pair comes out of the other, and the ends may be in different namespaces. The
//! pair is one thing: when either end goes (with its namespace, when the last process in it has ended), so does the
//! other, a moment later.
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
/// A cable whose both ends are switched on carries packets within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A veth pair. Dropping it deletes it, unless it was told to stay.
#[derive(Debug)]
#[must_use = "dropping it deletes the pair"]
pub struct Veth {
    /// Either of them may be the one that is where the pair is dropped.
    ends: Option<VethNames>,
}

/// The names of the two ends of a veth pair.
#[derive(Debug, Clone)]
pub struct VethNames {
    /// The end where the caller of [`Netlink::add_veth`] stands.
    pub here: String,
    /// The end in the other namespace.
    pub there: String,
}

impl Veth {
    /// Leaves the pair to the two namespaces.
    pub fn keep(mut self) {
        self.ends = None;
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            // One end is here, and takes the other with it. Nobody is left to be told of a failure.
            let _ = Netlink::open().and_then(|netlink| netlink.delete(&ends.here).and(netlink.delete(&ends.there)));
        }
    }
}

impl Netlink {
    /// Makes a veth pair, one end here and one in the namespace `there`, both from the first moment where they belong.
    ///
    /// # Errors
    /// `EEXIST` when a link of one of the names is there already; `ERANGE` for a name longer than [`LONGEST_NAME`];
    /// `EOPNOTSUPP` when the kernel has no veth.
    pub fn add_veth(&self, ends: &VethNames, there: &OwnNetNs) -> Result<Veth> {
        let VethNames { here, there: other } = ends;
        step!("link.veth",
            call: "sendto(netlink, RTM_NEWLINK {{ kind veth, \"{here}\", peer \"{other}\" in the host's namespace }})";
            why: "a cable with two ends, one in each network namespace: the only way in or out";
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

    /// The number of a link, or none when there is none of that name.
    ///
    /// # Errors
    /// `ENODEV` is no error here; others by netlink(7).
    pub fn find(&self, name: &str) -> Result<Option<u32>> {
        match self.ask(self.index(name)) {
            Ok(index) => Ok(Some(index)),
            Err(Cause::Kernel(Errno::ENODEV | Errno::ERANGE)) => Ok(None),
            Err(cause) => Err(Error::new("look for link", name, cause)),
        }
    }

    /// Switches a link on.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that name.
    pub fn set_up(&self, name: &str) -> Result<()> {
        step!("link.up",
            call: "sendto(netlink, RTM_NEWLINK {{ \"{name}\", IFF_UP }})";
            why: "every interface is born switched off, lo as well";
            shell: "ip link set {name} up");
        let message = LinkUnspec::new_with_name(name).up().build();
        self.ask(self.handle.link().change(message).execute()).or_cannot("switch on link", name)
    }

    /// Waits until a link that was switched on carries packets: at first it drops them, for a moment.
    ///
    /// # Errors
    /// `ETIMEDOUT` when its other end is not switched on within a few seconds; `ENODEV` when there is none of that name.
    pub fn wait_until_up(&self, name: &str) -> Result<()> {
        let carries = self.runtime.block_on(async {
            // Listening begins before the first look, so that no news is missed in between.
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

    /// Whether there is a link of that name that carries packets.
    ///
    /// # Errors
    /// `ENODEV` is no error here; others by netlink(7).
    pub fn is_on(&self, name: &str) -> Result<bool> {
        match self.runtime.block_on(self.is_up(name)) {
            Ok(is_up) => Ok(is_up),
            Err(Cause::Kernel(Errno::ENODEV | Errno::ERANGE)) => Ok(false),
            Err(cause) => Err(Error::new("look at link", name, cause)),
        }
    }

    /// Gives a link a second name, for people: up to 255 bytes, shown by `ip link`.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that name.
    pub fn set_alias(&self, name: &str, alias: &str) -> Result<()> {
        step!("link.alias",
            call: "sendto(netlink, RTM_NEWLINK {{ \"{name}\", IFLA_IFALIAS \"{alias}\" }})";
            why: "a link's name has 15 bytes at most: the alias says in full whose it is";
            shell: "ip link set {name} alias {alias}");
        let message = LinkUnspec::new_with_name(name).alias(alias).build();
        self.ask(self.handle.link().change(message).execute()).or_cannot("give an alias to link", name)
    }

    /// Deletes a link, and with it the other end of a pair; one that is not there is nothing to do.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a link that cannot be deleted, such as `lo`.
    pub fn delete(&self, name: &str) -> Result<()> {
        let Some(index) = self.find(name)? else { return Ok(()) };
        step!("link.delete",
            call: "sendto(netlink, RTM_DELLINK {{ \"{name}\" }})";
            why: "a pair goes as a whole: its other end, addresses and routes go with it";
            shell: "ip link delete {name}");
        match self.ask(self.handle.link().del(index).execute()) {
            // It went by itself in between, with the namespace of its other end.
            Ok(()) | Err(Cause::Kernel(Errno::ENODEV)) => Ok(()),
            Err(cause) => Err(Error::new("delete link", name, cause)),
        }
    }

    async fn is_up(&self, name: &str) -> Result<bool, Cause> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await?;
        let attributes = found.into_iter().flat_map(|link| link.attributes);
        Ok(attributes.into_iter().any(|attribute| attribute == LinkAttribute::OperState(State::Up)))
    }

    /// The number of a link by its name.
    async fn index(&self, name: &str) -> Result<u32, rtnetlink::Error> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await?;
        found.map(|link| link.header.index).ok_or(rtnetlink::Error::RequestFailed)
    }
}
