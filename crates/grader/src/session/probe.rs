//! Probes from one network namespace to an address: a ping, a connection, a request.
//!
//! A thread of the grader enters the network namespace and makes the attempt. So a container needs no program for it, and
//! no program of the submission can fake the result.
//! Manual: icmp(7), raw(7), tcp(7).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::world::within;
use crate::record::steps::{Answer, Ask};

/// How often a probe is sent without an answer: a new veth pair may lose the first packets, since
/// the kernel starts an interface's queue a moment after it is switched on.
const ATTEMPTS: u32 = 3;
/// How many times longer than for a connection a probe waits for the answer on one.
const ANSWERING: u32 = 5;
/// Most that is read of an answer.
const LONGEST: u64 = 64 * 1024;

/// Asks from `place`. A probe without an answer is repeated until `patience` has passed; an accepted connection is not,
/// since a second request may count.
pub fn ask(place: Option<&File>, what: &Ask, patience: Duration) -> Answer {
    let Some(place) = place else { return Answer::NobodyThere };
    let answer = within(place, || match what {
        Ask::Ping { to } => again(patience, |patience| ping(to, patience)).map(Answer::Said),
        Ask::Tcp { to, port } => tcp(to, *port, patience).map(Answer::Said),
        Ask::Http { to, port, path } => http(to, *port, path, patience),
    });
    match answer.and_then(|answer| answer) {
        Ok(answer) => answer,
        Err(why) if is_timeout(&why) => Answer::Silence,
        Err(why) => Answer::Refused(reason(&why)),
    }
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// `No route to host`, without the number that Rust adds.
fn reason(why: &io::Error) -> String {
    let text = why.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

fn address(text: &str) -> io::Result<Ipv4Addr> {
    text.parse().map_err(|_| io::Error::other(format!("{text:?} is no address")))
}

/// Connects, and reads the other's word: the last line of what it sends, since servers here begin as HTTP does.
fn tcp(to: &str, port: u16, patience: Duration) -> io::Result<String> {
    let mut stream = connect(to, port, patience)?;
    let mut said = Vec::new();
    // A silent server has been reached all the same.
    let _ = Read::by_ref(&mut stream).take(LONGEST).read_to_end(&mut said);
    Ok(String::from_utf8_lossy(&said).trim_end().lines().last().unwrap_or_default().to_owned())
}

fn http(to: &str, port: u16, path: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = connect(to, port, patience)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {to}:{port}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut said = Vec::new();
    if let Err(why) = Read::by_ref(&mut stream).take(LONGEST).read_to_end(&mut said) {
        if said.is_empty() {
            return if is_timeout(&why) { Ok(Answer::Connected) } else { Err(why) };
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").or(said.split_once("\n\n")).unwrap_or((&said, ""));
    Ok(Answer::Said(format!("{}\n{body}", head.lines().next().unwrap_or_default())))
}

fn connect(to: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let to = SocketAddr::V4(SocketAddrV4::new(address(to)?, port));
    let stream = again(patience, |patience| TcpStream::connect_timeout(&to, patience))?;
    stream.set_read_timeout(Some(patience * ANSWERING))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// Tries until something comes back, at most [`ATTEMPTS`] times in `patience`.
fn again<T>(patience: Duration, mut attempt: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt(patience / ATTEMPTS) {
            Err(why) if is_timeout(&why) => {}
            other => return other,
        }
    }
    attempt(patience / ATTEMPTS)
}

/// Sends one echo request; returns the address that answered.
fn ping(to: &str, patience: Duration) -> io::Result<String> {
    const ECHO: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const UNREACHABLE: u8 = 3;
    let to = address(to)?;
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMP))?;
    // What std can do with a UDP socket it can do with this one: send and receive datagrams, with a time limit.
    let socket = UdpSocket::from(socket);
    // Pings that run at the same time tell their answers apart by this number.
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let token = std::process::id().to_be_bytes();
    let mut packet = [&[ECHO, 0, 0, 0, id[0], id[1], 0, 1][..], &token[..]].concat();
    let sum = checksum(&packet).to_be_bytes();
    packet.splice(2..4, sum);
    socket.send_to(&packet, SocketAddrV4::new(to, 0))?;
    let deadline = Instant::now() + patience;
    let mut got = [0; 1500];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut got) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        // A raw socket gets every ICMP message of its namespace, the IP header in front.
        let datagram = got.get(..length).unwrap_or_default();
        let header = usize::from(datagram.first().copied().unwrap_or(0) & 15) * 4;
        let (from, message) = (datagram.get(12..16), datagram.get(header..).unwrap_or_default());
        let is_ours = |echo: &[u8]| echo.get(4..6) == Some(&id[..]);
        match message.first() {
            Some(&ECHO_REPLY) if is_ours(message) && message.get(8..12) == Some(&token[..]) => {
                return Ok(from.map_or(String::new(), |ip| Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).to_string()));
            }
            // The message that could not be delivered comes back in it.
            Some(&UNREACHABLE) if message.get(28..).is_some_and(is_ours) => {
                return Err(nix::errno::Errno::EHOSTUNREACH.into());
            }
            _ => {}
        }
    }
}

/// RFC 1071: the ones' complement of the ones' complement sum of all 16-bit words.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_takes_the_call_and_says_nothing_is_not_an_absent_one() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let patience = Duration::from_millis(20);
        assert!(matches!(http("127.0.0.1", port, "/", patience), Ok(Answer::Connected)));
        drop(server);
        assert!(http("127.0.0.1", port, "/", patience).is_err());
    }

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        let mut packet = vec![8, 0, 0, 0, 0, 5, 0, 1, 0xff, 0xff, 0x12, 0x34];
        let sum = checksum(&packet).to_be_bytes();
        packet.splice(2..4, sum);
        assert_eq!(checksum(&packet), 0);
    }
}
