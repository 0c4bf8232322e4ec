//! Network namespaces that a test can send packets from and to: each is held by a process, and gone with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// The internet's address.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The world's address on the host's own network.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The host's address there.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// How long a packet may take that is expected to come, and how long is waited for one that is not.
const PATIENCE: Duration = Duration::from_secs(3);
const REFUSAL: Duration = Duration::from_millis(700);

/// A process that holds a network namespace; ended with this value.
pub struct Netns {
    process: Child,
}

impl Netns {
    /// A new one, empty but for its `lo`, and a new mount namespace with it.
    #[allow(clippy::new_without_default, reason = "a process is started")]
    pub fn new() -> Self {
        // Says so when it stands in its new namespaces. These begin with the machine's own settings: Docker may have made that
        // a router.
        // Where systemd-resolved is at work, /etc/resolv.conf is a link into /run.
        let script = "resolv=$(readlink -f /etc/resolv.conf) text=$(cat /etc/resolv.conf); mount -t tmpfs tmpfs /run; \
                      case $resolv in /run/*) mkdir -p ${resolv%/*}; echo \"$text\" >$resolv; esac; \
                      echo 0 >/proc/sys/net/ipv4/ip_forward; echo in; exec sleep infinity";
        let mut process = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) is there");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "in\n", "new namespaces: these tests need root");
        Self { process }
    }

    /// The process that holds it.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A command in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.pid().to_string(), "--", program]).stdin(Stdio::null());
        command
    }

    /// Words of a command that must succeed; returns what it prints.
    pub fn run(&self, words: &str) -> String {
        let mut split = words.split_whitespace();
        let output = self.command(split.next().unwrap()).args(split).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A line for its shell, which must succeed.
    pub fn run_script(&self, line: &str) {
        let status = self.command("sh").args(["-ec", line]).status().unwrap();
        assert!(status.success(), "{line}");
    }

    /// Runs `work` in its network namespace, on a thread that ends there; sockets made by it belong there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        thread::scope(|scope| {
            let visit = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            visit.join().unwrap()
        })
    }

    /// Whether an echo request is answered.
    pub fn pings(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into().to_string();
        let output = self.command("ping").args(["-c1", "-W1", &address]).output().unwrap();
        output.status.success()
    }

    /// A server that tells each caller the caller's address, for as long as the value lives.
    pub fn serve(&self, port: u16) -> Server {
        self.serve_at(Ipv4Addr::UNSPECIFIED, port)
    }

    /// The same, at one of its addresses.
    pub fn serve_at(&self, address: Ipv4Addr, port: u16) -> Server {
        let listener = self.inside(|| TcpListener::bind((address, port))).unwrap();
        Server::tcp(listener)
    }

    /// The same for datagrams.
    pub fn serve_udp(&self, port: u16) -> Server {
        let socket = self.inside(|| UdpSocket::bind(("0.0.0.0", port))).unwrap();
        Server::udp(socket)
    }

    /// What the server at `address` answers, if one does.
    pub fn asks(&self, address: impl Into<IpAddr>, port: u16) -> Option<String> {
        let to = SocketAddr::new(address.into(), port);
        self.inside(|| {
            let mut stream = TcpStream::connect_timeout(&to, REFUSAL).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }

    /// The same for datagrams.
    pub fn asks_udp(&self, address: impl Into<IpAddr>, port: u16) -> Option<String> {
        let to = SocketAddr::new(address.into(), port);
        self.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(REFUSAL)).unwrap();
            socket.send_to(b"who", to).ok()?;
            let mut buffer = [0; 64];
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server on a thread; its socket is shut when dropped.
pub struct Server {
    stop: Box<dyn FnMut()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn tcp(listener: TcpListener) -> Self {
        let ear = listener.try_clone().unwrap();
        let thread = thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = write!(stream, "{}", from.ip());
            }
        });
        let stop = move || {
            nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&ear), nix::sys::socket::Shutdown::Both).unwrap()
        };
        Self { stop: Box::new(stop), thread: Some(thread) }
    }

    fn udp(socket: UdpSocket) -> Self {
        let ear = socket.try_clone().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 64];
            while told.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
                }
            }
        });
        let mut tell = Some(tell);
        Self {
            stop: Box::new(move || {
                tell.take();
                let _ = &ear;
            }),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A host and the world behind it, connected: the host reaches the internet, and the world knows no way to containers.
pub fn host_and_internet() -> (Netns, Netns) {
    let (space, world) = (Netns::new(), Netns::new());
    space.run("ip link set lo up");
    space.run(&format!("ip link add up0 type veth peer name up0-far netns {}", world.pid()));
    space.run(&format!("ip address add {HOST}/24 dev up0"));
    space.run("ip link set up0 up");
    space.run(&format!("ip route add default via {NEIGHBOUR}"));
    world.run("ip link set lo up");
    world.run(&format!("ip address add {NEIGHBOUR}/24 dev up0-far"));
    world.run(&format!("ip address add {INTERNET}/32 dev lo"));
    world.run("ip link set up0-far up");
    let carries = || space.run("ip -brief link show up0").contains(" UP ");
    while !carries() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(space.pings(INTERNET), "the host itself reaches the internet");
    (space, world)
}
