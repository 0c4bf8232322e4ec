//! Published ports: ports of the host that are forwarded to a container.
//!
//! The kernel forwards: a packet for the host's port gets the container's address before routing (DNAT), so no process
//! listens on the host and `ss -l` shows nothing. Therefore a program of the host that listens on the port would be cut
//! off without an error. So the port is checked before it is published.
//!
//! Look: `iptables -t nat -S`, `ss -ltnp`. Manual: iptables-extensions(8) "DNAT", proc_pid_net(5).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use nsutil::error::{OrCannot, Result};
use procfs::net::TcpState;
use procfs::process::FDTarget;
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// A port of the host and the container's port it is forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host address it applies to; none is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Port of the host.
    pub host: u16,
    /// Port in the container.
    pub inside: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The value of one `--expose`: a pair of ports, or the pairs of two ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<PublishedPort>);

/// Limit, since each port needs several firewall rules.
const MAX_PORTS: usize = 1000;

impl FromStr for Ports {
    type Err = String;

    /// Both spellings in use: `[ADDRESS:]HOST:CONTAINER`, where each may be a range, and the published labs' `INNER-OUTER`;
    /// `/udp` may follow.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{} is not a pair of ports: write HOST:CONTAINER, for example 3000:8080, 127.0.0.1:3000:8080 or \
                 8000-8010:80-90, or INNER-OUTER, for example 8080-3000; ports are 1 to 65535, and /udp may follow",
                quoted(text)
            )
        };
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let (address, host, inside) = match *ports.split(':').collect::<Vec<_>>() {
            [both] => {
                let (inside, host) = both.split_once('-').ok_or_else(wrong)?;
                (None, port(host).map(one), port(inside).map(one))
            }
            [host, inside] => (None, range(host), range(inside)),
            [address, host, inside] => (Some(address.parse().map_err(|_| wrong())?), range(host), range(inside)),
            _ => return Err(wrong()),
        };
        let (Some(host), Some(inside)) = (host, inside) else { return Err(wrong()) };
        if host.len() != inside.len() || host.len() > MAX_PORTS {
            let why = format!("two ranges have the same length, and no more than {MAX_PORTS} ports");
            return Err(format!("{} cannot be published: {why}, for example 8000-8010:80-90", quoted(text)));
        }
        // 0.0.0.0 means all addresses.
        let address = address.filter(|address: &Ipv4Addr| !address.is_unspecified());
        let pairs = host.zip(inside);
        Ok(Self(pairs.map(|(host, inside)| PublishedPort { address, host, inside, protocol }).collect()))
    }
}

impl PublishedPort {
    /// Whether the same packet could match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let addresses = self.address.is_none() || other.address.is_none() || self.address == other.address;
        addresses && (self.host, self.protocol) == (other.host, other.protocol)
    }
}

/// `8000` or `8000-8010`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let Some((first, last)) = text.split_once('-') else { return port(text).map(one) };
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

fn one(port: u16) -> RangeInclusive<u16> {
    port..=port
}

/// 1 to 65535 in plain digits; u16's own parser would take "+80" too.
fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(out, "{address}:")?;
        }
        write!(out, "{}:{}/{}", self.host, self.inside, self.protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The process that listens on a port of this network namespace: `process 4711 (nginx)`.
///
/// # Errors
/// When /proc/net cannot be read.
pub fn listening_process(wanted: &PublishedPort) -> Result<Option<String>> {
    let PublishedPort { address, host: port, protocol, .. } = *wanted;
    let sockets = match protocol {
        Protocol::Tcp => listening_tcp(),
        Protocol::Udp => bound_udp(),
    };
    let sockets = sockets.map_err(|error| error.to_string()).or_cannot("list", format_args!("{protocol} sockets"))?;
    let is_in_the_way = |at: &SocketAddr| {
        at.port() == port
            && (at.ip().is_unspecified() || address.is_none_or(|address| at.ip().to_canonical() == address))
    };
    let Some((_, inode)) = sockets.into_iter().find(|(at, _)| is_in_the_way(at)) else { return Ok(None) };
    let unknown = || "a process that cannot be seen from here".to_owned();
    Ok(Some(owner(inode).unwrap_or_else(unknown)))
}

type Sockets = procfs::ProcResult<Vec<(SocketAddr, u64)>>;

fn listening_tcp() -> Sockets {
    // A kernel without IPv6 has no second file.
    let both = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let listening = both.filter(|socket| socket.state == TcpState::Listen);
    Ok(listening.map(|socket| (socket.local_address, socket.inode)).collect())
}

fn bound_udp() -> Sockets {
    let both = procfs::net::udp()?.into_iter().chain(procfs::net::udp6().unwrap_or_default());
    Ok(both.map(|socket| (socket.local_address, socket.inode)).collect())
}

/// The process that has the socket open.
fn owner(socket: u64) -> Option<String> {
    // Processes may exit meanwhile: skip those that cannot be read.
    let processes = procfs::process::all_processes().ok()?.flatten();
    let mut holders = processes.filter(|process| {
        let open = process.fd().into_iter().flatten().flatten();
        open.into_iter().any(|entry| matches!(entry.target, FDTarget::Socket(inode) if inode == socket))
    });
    let process = holders.next()?;
    let name = process.stat().map_or_else(|_| "?".to_owned(), |stat| stat.comm.escape_debug().to_string());
    Some(format!("process {} ({name})", process.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(host: u16, inside: u16, protocol: Protocol) -> PublishedPort {
        PublishedPort { address: None, host, inside, protocol }
    }

    fn single(text: &str) -> PublishedPort {
        let Ports(all) = text.parse().unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all[0]
    }

    #[test]
    fn the_separator_tells_which_port_comes_first() {
        assert_eq!(single("3000:8080"), publish(3000, 8080, Protocol::Tcp));
        assert_eq!(single("8080-3000"), publish(3000, 8080, Protocol::Tcp));
        assert_eq!(single("53:5353/udp"), publish(53, 5353, Protocol::Udp));
        assert_eq!(single("65535:1/tcp"), publish(65535, 1, Protocol::Tcp));
    }

    #[test]
    fn ranges_are_pairs_in_order_and_an_address_holds_for_all() {
        let Ports(pairs) = "127.0.0.1:8000-8002:80-82/udp".parse().unwrap();
        let shown: Vec<String> = pairs.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:8000:80/udp", "127.0.0.1:8001:81/udp", "127.0.0.1:8002:82/udp"]);
        assert_eq!(single("0.0.0.0:80:80"), single("80:80"));
        assert_eq!(single("10.0.0.1:80:80").address, Some([10, 0, 0, 1].into()));
        let overlaps = |one: &str, other: &str| single(one).overlaps(&single(other));
        assert!(overlaps("80:1", "10.0.0.1:80:2") && overlaps("10.0.0.1:80:1", "10.0.0.1:80:2"));
        assert!(!overlaps("127.0.0.1:80:1", "10.0.0.1:80:1") && !overlaps("80:1", "80:1/udp"));
        for wrong in ["8000-8002:80-81", "8000-8002:80", "1-1001:1-1001"] {
            assert!(wrong.parse::<Ports>().unwrap_err().contains("same length"), "{wrong}");
        }
        let kept = serde_json::to_string(&single("3000:80")).unwrap();
        assert_eq!(kept, r#"{"host":3000,"inside":80,"protocol":"tcp"}"#, "as older records have it");
    }

    #[test]
    fn an_invalid_pair_of_ports_is_refused_with_both_forms() {
        let wrong = [
            "",
            "0",
            "65536",
            "80",
            "80-",
            "-80",
            ":80",
            "80:",
            "a-b",
            "80-80-80",
            "1:2:3",
            "localhost:80:80",
            "::1:80:80",
            "1.2.3.4:80-3000",
            "1.2.3.4.5:80:80",
            "82-80:82-80",
            "1:2-",
            "1:2-3-4",
            "1e3:80",
            " 80-80",
            "80:80 ",
            "0:80",
            "80:0",
            "80:65536",
            "+80:80",
            "٣:٤",
            "80:80/sctp",
            "80:80/",
            "80:80/tcp/udp",
            "80:80/tcp/tcp",
        ];
        for text in wrong {
            let error = text.parse::<Ports>().unwrap_err();
            assert!(error.contains("3000:8080") && error.contains("8080-3000"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_traced_to_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening_process = |address: Option<Ipv4Addr>, protocol| {
            listening_process(&PublishedPort { address, host: port, inside: 80, protocol }).unwrap()
        };
        let held = listening_process(None, Protocol::Tcp).unwrap();
        assert_eq!(listening_process(Some(Ipv4Addr::LOCALHOST), Protocol::Tcp).as_ref(), Some(&held));
        assert_eq!(listening_process(Some([10, 9, 9, 9].into()), Protocol::Tcp), None, "another address, another port");
        assert!(held.starts_with(&format!("process {} (", std::process::id())), "{held}");
        assert_eq!(listening_process(None, Protocol::Udp), None, "another protocol, another port");
        drop(listener);
        assert_eq!(listening_process(None, Protocol::Tcp), None);
    }
}
