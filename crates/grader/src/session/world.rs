//! The network around the box: a router with a fake internet behind it, and another machine.
//!
//! ```text
//!   outside ── router, the internet ──── eth0 the box: "the host" ── containers, if the tool connects them
//! ```
//!
//! Three network namespaces and two veth pairs. The router forwards, and has routes to the two machines beside it
//! only: an answer to an address behind the host is lost there, as on the real internet. So a container reaches
//! the internet only when the host translates its address (NAT). Each server answers with the client's address, which
//! shows whether it was translated. The box's interface has the name that the submission's settings ask for.
//!
//! Nothing here has a name on the machine: a namespace is held by an open file, and is gone with it, and so are its veth pairs.
//! Look: `ip -d addr` in the box. Manual: network_namespaces(7), veth(4), ip-link(8).

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, OrCannot, Result};
use crate::record::steps::Addresses;
use crate::sandbox::proc;
use crate::sandbox::{ROOTS_PATH, Sandbox, Worker, mix};

/// The port of the internet's web server.
pub const WEB_PORT: u16 = 80;
/// The port of its resolver.
const DNS_PORT: u16 = 53;

/// What the box finds set when it starts: nothing passes through it yet.
const SETTINGS: [(&str, &str); 6] = [
    ("/proc/sys/net/ipv4/conf/all/forwarding", "0"),
    ("/proc/sys/net/ipv4/conf/default/forwarding", "0"),
    ("/proc/sys/net/ipv4/conf/all/rp_filter", "0"),
    ("/proc/sys/net/ipv4/conf/default/rp_filter", "0"),
    ("/proc/sys/net/ipv4/conf/all/route_localnet", "0"),
    ("/proc/sys/net/ipv4/ip_forward", "0"),
];

/// The namespaces around a box, its servers, and the addresses.
#[derive(Debug)]
pub struct World {
    /// The addresses of all machines.
    pub addresses: Addresses,
    /// The box's network namespace.
    pub host: File,
    /// The router's, which is the internet as well.
    pub internet: File,
    /// The other machine's.
    pub outside: File,
    /// Why this machine cannot translate addresses, if it cannot.
    pub no_nat: Option<String>,
    _servers: Vec<Server>,
}

impl World {
    /// The addresses that follow from `seed`; the box's interface is called `interface`.
    pub fn plan(seed: u64, interface: &str) -> Addresses {
        // From the blocks that documents may use (RFC 5737): not used on the real internet.
        let part = |nth: u64| 10 + mix(seed ^ nth) % 200;
        Addresses {
            host: format!("203.0.113.{}", part(11)),
            interface: interface.to_owned(),
            outside: format!("198.51.100.{}", part(12)),
            internet: format!("192.0.2.{}", part(13)),
        }
    }

    /// Connects `host` to a world of its own.
    ///
    /// # Errors
    /// `Exit::CannotRun` with what is missing here: ip(8), or a kernel with veth pairs.
    pub fn around(host: &Sandbox, addresses: Addresses) -> Result<World> {
        let path = format!("/proc/{}/ns/net", host.init());
        let here = File::open(&path).or_cannot("open", &path)?;
        let internet = new_namespace().or_cannot("make", "the internet's network namespace")?;
        let outside = new_namespace().or_cannot("make", "the other machine's network namespace")?;
        let Addresses { host: host_ip, interface, outside: outside_ip, internet: internet_ip } = &addresses;
        let at = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        // As the router sees it. The links are made here, each with its other end in the namespace where it belongs.
        ip(
            &internet,
            &format!(
                "link set lo up\naddr add {internet_ip}/32 dev lo\n\
             link add to-host type veth peer name {interface} netns {}\naddr add 203.0.113.1/24 dev to-host\nlink set to-host up\n\
             link add to-outside type veth peer name eth0 netns {}\naddr add 198.51.100.1/24 dev to-outside\nlink set to-outside up\n",
                at(&here),
                at(&outside)
            ),
        )?;
        set(&internet, &[("/proc/sys/net/ipv4/ip_forward", "1")]);
        set(&here, &SETTINGS);
        let machine = |interface: &str, address: &str, router: &str| {
            format!(
                "link set lo up\naddr add {address}/24 dev {interface}\nlink set {interface} up\nroute add default via {router}\n"
            )
        };
        ip(&here, &machine(interface, host_ip, "203.0.113.1"))?;
        ip(&outside, &machine("eth0", outside_ip, "198.51.100.1"))?;
        let servers = vec![
            Server::tcp(&internet, WEB_PORT, "web").or_cannot("start", "the internet's web server")?,
            Server::dns(&internet, internet_ip).or_cannot("start", "the internet's resolver")?,
        ];
        let no_nat = try_nat(&outside);
        Ok(World { addresses, host: here, internet, outside, no_nat, _servers: servers })
    }
}

/// A server of the grader's own, in whatever network namespace; it ends when dropped.
///
/// While it runs it keeps its namespace alive, and so everything in it: a server in a container must be dropped before
/// the container is stopped.
#[derive(Debug)]
pub struct Server(#[expect(dead_code, reason = "it ends when dropped")] Worker);

impl Server {
    /// Listens at `port` of every address in `namespace`. It sends each client its `name` and the client's address, one line,
    /// as plain text or, in answer to a GET, as HTTP.
    ///
    /// # Errors
    /// `EADDRINUSE` when the port is taken, and those of setns(2).
    pub fn tcp(namespace: &File, port: u16, name: &str) -> io::Result<Server> {
        let listener = within(namespace, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))??;
        listener.set_nonblocking(true)?;
        let name = name.to_owned();
        Worker::start("server", move |stop| {
            while wait(listener.as_fd(), stop) {
                if let Ok((mut stream, from)) = listener.accept() {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
                    // Both kinds of caller are content: the one reads a line, the other a body without its length.
                    let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{name} {}\n", from.ip()).as_bytes());
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    // Closed with a request unread, the connection would be reset, and the answer lost with it.
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
            }
        })
        .map(Server)
    }

    /// A resolver that answers every question for an address with `address`.
    fn dns(namespace: &File, address: &str) -> io::Result<Server> {
        let address: Ipv4Addr = address.parse().map_err(io::Error::other)?;
        // Bound to its own address: a client ignores an answer from another address of the router.
        let socket = within(namespace, || UdpSocket::bind((address, DNS_PORT)))??;
        socket.set_nonblocking(true)?;
        Worker::start("server", move |stop| {
            let mut question = [0; 512];
            while wait(socket.as_fd(), stop) {
                if let Ok((length, from)) = socket.recv_from(&mut question) {
                    let answer = resolved(question.get(..length).unwrap_or_default(), address);
                    let _ = answer.map(|answer| socket.send_to(&answer, from));
                }
            }
        })
        .map(Server)
    }
}

/// Waits for a caller; false when the server is to end.
fn wait(socket: std::os::fd::BorrowedFd<'_>, stop: &OwnedFd) -> bool {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::NONE).is_ok() {
            let [called, ended] = fds.map(|fd| fd.any().unwrap_or(false));
            if called || ended {
                return !ended;
            }
        }
    }
}

/// The answer to a DNS query: its header and question again, and one A record. RFC 1035, 4.1.
fn resolved(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let wants_address = question.get(name + 1..name + 3)? == [0, 1];
    let mut answer = query.get(..2)?.to_vec();
    // An answer, recursion available; one question, and one answer to it when an address was asked for.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(wants_address), 0, 0, 0, 0]);
    answer.extend(question);
    if wants_address {
        // The name again as a pointer to the question, type A, class IN, 60 seconds, 4 bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// Runs `work` in a network namespace. Entering is a thread's whole life: it never has to come back.
///
/// # Errors
/// Those of setns(2).
pub fn within<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let entered = || setns(namespace, CloneFlags::CLONE_NEWNET).map(|()| work());
    std::thread::scope(|scope| scope.spawn(entered).join())
        .map_err(|_| io::Error::other("the thread in the other namespace came to a bad end"))?
        .map_err(io::Error::from)
}

/// A network namespace that lives as long as the file.
fn new_namespace() -> io::Result<File> {
    let make = || -> io::Result<File> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        File::open("/proc/thread-self/ns/net")
    };
    std::thread::scope(|scope| scope.spawn(make).join()).map_err(|_| io::Error::other("a thread came to a bad end"))?
}

/// Does what `batch` says, in ip(8)'s own words, one command a line, in `namespace`.
fn ip(namespace: &File, batch: &str) -> Result<()> {
    let failed = |why: String| Error::cannot_run(format!("cannot connect the box to a network, ip -batch: {why}"));
    let run = || -> io::Result<std::process::Output> {
        let mut ip = tool("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = ip.stdin.take() {
            stdin.write_all(batch.as_bytes())?;
        }
        ip.wait_with_output()
    };
    let output = within(namespace, run).and_then(|output| output).map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
}

/// A program of this machine's, found also where the caller's `PATH` lacks the folders of root's programs.
pub(super) fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", ROOTS_PATH);
    command
}

/// Tries whether iptables(8) and the kernel can translate addresses, in a namespace where it does no harm; says why not.
fn try_nat(namespace: &File) -> Option<String> {
    let rule = |how: &str| {
        let words = ["-t", "nat", how, "POSTROUTING", "-j", "MASQUERADE"];
        tool("iptables").args(words).stdin(Stdio::null()).stdout(Stdio::null()).output()
    };
    let tried = within(namespace, || rule("-A").and_then(|added| rule("-D").map(|_| added))).and_then(|tried| tried);
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("iptables: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))),
        Err(why) => Some(format!("cannot run iptables: {why}")),
    }
}

/// Sets what belongs to a network namespace. What this kernel does not have needs no value.
fn set(namespace: &File, settings: &[(&str, &str)]) {
    let _ = within(namespace, || {
        for (file, value) in settings {
            let _ = std::fs::write(file, value);
        }
    });
}

/// The network namespace of a process, held open.
pub fn of_process(pid: i32) -> Option<File> {
    // A zombie has none any more.
    proc::stat(pid).filter(|stat| stat.state != 'Z')?;
    File::open(format!("/proc/{pid}/ns/net")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_an_address_is_answered_and_any_other_gets_an_empty_answer() {
        let query = |kind: u8| [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &b"\x02eg\x00"[..], &[0, kind, 0, 1]].concat();
        let answer = resolved(&query(1), Ipv4Addr::new(192, 0, 2, 9)).unwrap();
        assert_eq!((&answer[..2], answer[7]), (&[7, 7][..], 1));
        assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 9]);
        assert_eq!(resolved(&query(28), Ipv4Addr::LOCALHOST).unwrap()[7], 0);
        assert_eq!(resolved(&[0; 5], Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn the_addresses_follow_from_the_seed_and_meet_no_router() {
        assert_eq!(World::plan(3, "eth0"), World::plan(3, "eth0"));
        for seed in 0..500 {
            let plan = World::plan(seed, "eth0");
            assert!(![plan.host, plan.outside].iter().any(|address| address.ends_with(".1")), "{seed}");
        }
    }
}
