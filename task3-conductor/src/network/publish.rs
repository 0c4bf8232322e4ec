//! Published ports: a port of the host that leads to one of a container.
//!
//! The kernel does it: a packet for the host's port gets the container's address before it is routed (DNAT), so nothing
//! listens on the host and `ss -l` shows nothing. That is also the danger: a program of the host that listens on that
//! port would be cut off without an error. So before a port is published, it is made sure that nobody has it.
//!
//! Look: `iptables -t nat -S`, `ss -ltnp`. Manual: iptables-extensions(8) "DNAT", proc_pid_net(5).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use nsutil::error::{OrCannot, Result};
use procfs::net::TcpState;
use procfs::process::FDTarget;
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// A port of the host and the container's port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// Port of the host.
    pub host: u16,
    /// Port in the container.
    pub inside: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

/// What travels to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl FromStr for Publish {
    type Err = String;

    /// Both spellings in use: `HOST:CONTAINER`, and the published labs' `INNER-OUTER`; `/udp` may follow.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{} is no pair of ports: write HOST:CONTAINER, for example 3000:8080, or INNER-OUTER, for example \
                 8080-3000; ports are 1 to 65535, and /udp may follow",
                quoted(text)
            )
        };
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let (host, inside) = match (ports.split_once(':'), ports.split_once('-')) {
            (Some((host, inside)), None) => (host, inside),
            (None, Some((inside, host))) => (host, inside),
            _ => return Err(wrong()),
        };
        match (port(host), port(inside)) {
            (Some(host), Some(inside)) => Ok(Self { host, inside, protocol }),
            _ => Err(wrong()),
        }
    }
}

/// 1 to 65535 in plain digits; u16's own parser would take "+80" too.
fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

impl fmt::Display for Publish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// Who listens on a port of this network namespace, on any address: `process 4711 (nginx)`.
///
/// # Errors
/// When /proc/net cannot be read.
pub fn holder(port: u16, protocol: Protocol) -> Result<Option<String>> {
    let sockets = match protocol {
        Protocol::Tcp => listening_tcp(),
        Protocol::Udp => bound_udp(),
    };
    let sockets = sockets.map_err(|error| error.to_string()).or_cannot("list", format_args!("{protocol} sockets"))?;
    let Some((_, inode)) = sockets.into_iter().find(|(address, _)| address.port() == port) else { return Ok(None) };
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

/// The process that has this socket open.
fn owner(socket: u64) -> Option<String> {
    // Processes come and go while we look: one that cannot be read has nothing open any more.
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

    fn publish(host: u16, inside: u16, protocol: Protocol) -> Publish {
        Publish { host, inside, protocol }
    }

    #[test]
    fn the_separator_tells_which_port_comes_first() {
        assert_eq!("3000:8080".parse(), Ok(publish(3000, 8080, Protocol::Tcp)));
        assert_eq!("8080-3000".parse(), Ok(publish(3000, 8080, Protocol::Tcp)));
        assert_eq!("53:5353/udp".parse(), Ok(publish(53, 5353, Protocol::Udp)));
        assert_eq!("65535:1/tcp".parse(), Ok(publish(65535, 1, Protocol::Tcp)));
    }

    #[test]
    fn whatever_is_no_pair_of_ports_is_refused_with_both_forms() {
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
            "1:2-3",
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
            let error = text.parse::<Publish>().unwrap_err();
            assert!(error.contains("3000:8080") && error.contains("8080-3000"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_traced_to_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = holder(port, Protocol::Tcp).unwrap().unwrap();
        assert!(held.starts_with(&format!("process {} (", std::process::id())), "{held}");
        assert_eq!(holder(port, Protocol::Udp).unwrap(), None, "another protocol, another port");
        drop(listener);
        assert_eq!(holder(port, Protocol::Tcp).unwrap(), None);
    }
}
