//! Connection tracking: deleting entries.
//!
//! NAT rewrites addresses according to the first packet of a connection; later packets are treated alike (see
//! [`nat`](super::nat)). For UDP, a "connection" is any flow between two ports that does not pause. So a client that
//! keeps sending reaches the old destination even after the rule is gone and another container has the port. When an
//! address is released, its entries must be deleted.
//!
//! Look: `conntrack -L`, or /proc/net/nf_conntrack. Manual: conntrack(8), netlink(7).

use std::net::Ipv4Addr;

use nix::errno::Errno;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::error::{OrCannot, Result};
use crate::step;

// linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h.
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ZONE: u16 = 18;
// linux/netlink.h.
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Length of a message's header, and of the "generic netfilter" header after it.
const HEADER: usize = 16;
const NFGENMSG: usize = 4;

/// Deletes every entry in which the address is sender or receiver, before or after NAT; returns their number.
///
/// Does nothing if the kernel does not offer the list (nf_conntrack_netlink): its entries stay until they time out.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`; others by netlink(7).
pub fn delete_by_address(address: Ipv4Addr) -> Result<usize> {
    step!("conntrack.forget",
        call: "sendto(netlink, IPCTNL_MSG_CT_DELETE {{ every connection of {address} }})";
        why: "existing connections would still be sent where the old rules pointed";
        shell: "conntrack -D -s {address}; conntrack -D -d {address}; conntrack -D -q {address}; conntrack -D -r {address}");
    delete_matching(|known| {
        [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].iter().any(|tuple| known.addresses_of(*tuple).contains(&address))
    })
    .or_cannot("delete tracked connections of", address)
}

/// Deletes UDP entries to a port of this host that are not subject to NAT yet, so that a rule added since applies to
/// them; returns their number.
///
/// # Errors
/// Those of [`delete_by_address`].
pub fn delete_by_udp_port(port: u16) -> Result<usize> {
    step!("conntrack.forget",
        call: "sendto(netlink, IPCTNL_MSG_CT_DELETE {{ every flow over UDP to port {port} }})";
        why: "NAT rules are consulted only for the first packet of a flow, when this rule did not exist yet";
        shell: "conntrack -D -p udp --orig-port-dst {port}");
    delete_matching(|known| {
        let (mut there, back) = (known.addresses_of(CTA_TUPLE_ORIG), known.addresses_of(CTA_TUPLE_REPLY));
        there.reverse();
        known.is_to_udp_port(port) && there == back && back.first().is_some_and(|to| is_local(*to))
    })
    .or_cannot("delete tracked connections to port", port)
}

/// Whether the address belongs to this host: others cannot be bound, see ip(7).
fn is_local(address: Ipv4Addr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Treats a kernel without connection tracking as having no entries.
fn delete_matching(wanted: impl Fn(&Connection<'_>) -> bool) -> std::result::Result<usize, Errno> {
    match delete_all(wanted) {
        Err(Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(0),
        outcome => outcome,
    }
}

fn delete_all(wanted: impl Fn(&Connection<'_>) -> bool) -> std::result::Result<usize, Errno> {
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(errno)?;
    socket.bind_auto().map_err(errno)?;
    let mut keys = Vec::new();
    send(&socket, IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, &[])?;
    for_each_message(&socket, |message| {
        let known = Connection(message.get(HEADER + NFGENMSG..).unwrap_or_default());
        if wanted(&known) {
            keys.push(known.key());
        }
    })?;
    let mut forgotten = 0;
    for key in keys {
        send(&socket, IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, &key)?;
        match for_each_message(&socket, |_| ()) {
            Ok(()) => forgotten += 1,
            // It timed out meanwhile.
            Err(Errno::ENOENT) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(forgotten)
}

/// A connection as a list of netlink attributes.
struct Connection<'a>(&'a [u8]);

impl Connection<'_> {
    /// Source and destination address in one direction.
    fn addresses_of(&self, tuple: u16) -> Vec<Ipv4Addr> {
        let ends = self.within(tuple, CTA_TUPLE_IP).filter(|end| [CTA_IP_V4_SRC, CTA_IP_V4_DST].contains(&end.kind));
        ends.filter_map(|end| Some(Ipv4Addr::from(<[u8; 4]>::try_from(end.value).ok()?))).collect()
    }

    fn is_to_udp_port(&self, port: u16) -> bool {
        let has = |kind, value: &[u8]| {
            self.within(CTA_TUPLE_ORIG, CTA_TUPLE_PROTO).any(|part| part.kind == kind && part.value == value)
        };
        has(CTA_PROTO_NUM, &[libc::IPPROTO_UDP as u8]) && has(CTA_PROTO_DST_PORT, &port.to_be_bytes())
    }

    fn within(&self, tuple: u16, part: u16) -> impl Iterator<Item = NetlinkAttribute<'_>> {
        let tuples = NetlinkAttributes(self.0).filter(move |attribute| attribute.kind == tuple);
        let parts =
            tuples.flat_map(|tuple| NetlinkAttributes(tuple.value)).filter(move |attribute| attribute.kind == part);
        parts.flat_map(|part| NetlinkAttributes(part.value))
    }

    /// Its key: original tuple and zone, as the kernel sent them.
    fn key(&self) -> Vec<u8> {
        let key = NetlinkAttributes(self.0).filter(|attribute| [CTA_TUPLE_ORIG, CTA_ZONE].contains(&attribute.kind));
        key.flat_map(|attribute| attribute.whole).copied().collect()
    }
}

fn send(socket: &Socket, kind: u16, flags: u16, attributes: &[u8]) -> std::result::Result<(), Errno> {
    let mut message = Vec::with_capacity(HEADER + NFGENMSG + attributes.len());
    message.extend(((HEADER + NFGENMSG + attributes.len()) as u32).to_ne_bytes());
    message.extend((NFNL_SUBSYS_CTNETLINK << 8 | kind).to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence number and port ID are not needed for one request at a time.
    message.extend([0; 8]);
    message.extend([libc::AF_INET as u8, 0, 0, 0]);
    message.extend(attributes);
    socket.send_to(&message, &SocketAddr::new(0, 0), 0).map_err(errno).map(drop)
}

/// Calls `handle` for each message of the answer, until its end or the kernel's status.
fn for_each_message(socket: &Socket, mut handle: impl FnMut(&[u8])) -> std::result::Result<(), Errno> {
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(errno)?;
        let mut rest = datagram.as_slice();
        while let Some((length, kind)) = header(rest) {
            let (message, after) = rest.split_at(length);
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = message.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok());
                    let code = -i32::from_ne_bytes(code.unwrap_or_default());
                    return if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) };
                }
                _ => handle(message),
            }
            rest = after.get(length.next_multiple_of(4) - length..).unwrap_or_default();
        }
    }
}

/// Length and kind of the message that `bytes` begin with.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    (HEADER..=bytes.len()).contains(&length).then_some((length, kind))
}

/// Attributes one after another: length, kind, value, and padding to four bytes. See netlink(7).
struct NetlinkAttributes<'a>(&'a [u8]);

struct NetlinkAttribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// With its header and padding.
    whole: &'a [u8],
}

impl<'a> Iterator for NetlinkAttributes<'a> {
    type Item = NetlinkAttribute<'a>;

    fn next(&mut self) -> Option<NetlinkAttribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        let padded = length.next_multiple_of(4).min(self.0.len());
        let (whole, rest) = self.0.split_at(padded);
        self.0 = rest;
        Some(NetlinkAttribute { kind, value, whole })
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_names_its_addresses_and_its_port() {
        let ends = [20, 0, 1, 0x80, 8, 0, 1, 0, 10, 9, 0, 1, 8, 0, 2, 0, 192, 168, 1, 2];
        let ports = [28, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 2, 0, 0x13, 0x88, 0, 0, 6, 0, 3, 0, 0, 53, 0, 0];
        let original = [&[52, 0, 1, 0x80][..], &ends, &ports].concat();
        let known = Connection(&original);
        assert_eq!(known.addresses_of(CTA_TUPLE_ORIG), [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(192, 168, 1, 2)]);
        assert!(known.addresses_of(CTA_TUPLE_REPLY).is_empty());
        assert!(known.is_to_udp_port(53) && !known.is_to_udp_port(5000));
        assert_eq!(known.key(), original);
    }

    #[test]
    fn truncated_attributes_end_the_parsing() {
        for bytes in [&[][..], &[8, 0], &[8, 0, 1, 0, 1], &[2, 0, 1, 0], &[0; 4]] {
            assert_eq!(NetlinkAttributes(bytes).count(), 0, "{bytes:?}");
            assert_eq!(header(bytes), None, "{bytes:?}");
        }
    }
}
