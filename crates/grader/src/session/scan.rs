//! A port scan: begins a connection to each port, many at the same time, and keeps none.
//!
//! A port can lead somewhere by a rule, a range of a rule, a map of nftables or a program that passes connections on. Asking
//! the ports themselves finds all of these. Each attempt costs the host an entry of its connection table for some
//! seconds, so not all 65 535 are asked: those up to [`LAST`], and those that are named. Look: `nc -zv HOST 1-10000`.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::Session;
use super::world::within;

/// The last port that is asked without being named.
pub const LAST: u16 = 10_000;
/// How many connections are begun at the same time: fewer than a process may have files.
const AT_ONCE: usize = 400;
/// How long those may take that get no answer, and how long all together.
const PATIENCE: Duration = Duration::from_millis(150);
const IN_ALL: Duration = Duration::from_secs(6);

impl Session<'_> {
    /// The ports of the host at which the other machine's connections are taken: of `named`, then of the first ones.
    pub fn open_ports(&self, named: &[u16]) -> Vec<u16> {
        let Ok(host) = self.world().addresses.host.parse() else { return Vec::new() };
        let ports: Vec<u16> = named.iter().copied().chain((1..=LAST).filter(|port| !named.contains(port))).collect();
        open(&self.world().outside, host, &ports, self.scaled(PATIENCE), self.scaled(IN_ALL)).unwrap_or_default()
    }
}

/// Those of `ports` that are open at `host`, asked from the network namespace `from`, as far as `in_all` allows.
fn open(from: &File, host: Ipv4Addr, ports: &[u16], patience: Duration, in_all: Duration) -> io::Result<Vec<u16>> {
    within(from, || {
        let (begun, mut found) = (Instant::now(), Vec::new());
        for some in ports.chunks(AT_ONCE).take_while(|_| begun.elapsed() < in_all) {
            let mut waiting: Vec<(u16, OwnedFd)> = Vec::new();
            for port in some {
                let socket = socket_with(
                    AddressFamily::INET,
                    SocketType::STREAM,
                    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
                    None,
                )?;
                match connect(&socket, &SocketAddrV4::new(host, *port)) {
                    Ok(()) => found.push(*port),
                    Err(rustix::io::Errno::INPROGRESS) => waiting.push((*port, socket)),
                    Err(_) => {}
                }
            }
            let deadline = Instant::now() + patience;
            while !waiting.is_empty() && Instant::now() < deadline {
                let mut fds: Vec<PollFd<'_>> =
                    waiting.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLOUT)).collect();
                let left = deadline.saturating_duration_since(Instant::now());
                poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO))?;
                let mut settled: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
                waiting.retain(|(port, socket)| {
                    let is_settled = !settled.is_empty() && settled.remove(0);
                    if is_settled && matches!(socket_error(socket), Ok(Ok(()))) {
                        found.push(*port);
                    }
                    !is_settled
                });
            }
        }
        found.sort_unstable();
        Ok(found)
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    #[ignore = "needs root: make test-root"]
    fn open_ports_are_told_from_closed_ones() {
        let here = File::open("/proc/self/ns/net").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let second = Duration::from_secs(1);
        let found = open(&here, Ipv4Addr::LOCALHOST, &[closed, port], second, second).unwrap();
        assert_eq!(found, [port]);
    }
}
