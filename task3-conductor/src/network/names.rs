//! Names inside a container: its own hosts and resolv.conf files.
//!
//! `getaddrinfo` looks into /etc/hosts first and then asks the servers of /etc/resolv.conf. A container needs its own of
//! both: its peers have names that the host must not learn, and a resolver that listens on the host's 127.0.0.53 is
//! nobody on the container's loopback. The files lie in the container's folder, out of reach of what runs inside, and
//! are bind-mounted over those of the image; so whatever link the image or its programs put at /etc/hosts, the host
//! writes only to these. A bind mount holds on to the file and not to its name: they are written in place, never
//! renamed.
//!
//! Look: `conductor exec NAME -- getent hosts PEER`. Manual: hosts(5), resolv.conf(5), nsswitch.conf(5).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nsutil::error::{Error, OrCannot, Result};

/// The private files: name in the container's folder, and the path inside that it is bind-mounted over.
pub const FILES: [(&str, &str); 2] = [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")];

/// What no container can lack: its own loopback's names.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const BEGIN: &str = "# conductor: from here on rewritten by addnetwork, peer and stop\n";
const END: &str = "# conductor: end\n";
/// More than any honest hosts file holds; what a container puts there must not fill our memory.
const LARGEST: u64 = 1 << 20;

/// Files of a host whose resolver listens on its own loopback name the real servers in one of these.
const UPSTREAM: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];
/// Servers to ask when the host names none that a container could reach.
const PUBLIC: &str = "nameserver 1.1.1.1\nnameserver 8.8.8.8\n";

/// One line of a hosts file: an address and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The address.
    pub address: Ipv4Addr,
    /// Its names, the canonical one first.
    pub names: Vec<String>,
}

/// Makes the private files in a container's folder, before it starts: its loopback, its own name, the host's resolvers.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn create(container_dir: &Path, hostname: &str) -> Result<()> {
    // Until it has an address of its own, its name means its loopback, as Debian has it.
    let own = Entry { address: Ipv4Addr::new(127, 0, 1, 1), names: vec![hostname.to_owned()] };
    write_in_place(&container_dir.join("hosts"), &hosts(LOOPBACK, &[own]))?;
    refresh_resolvers(container_dir)
}

/// Writes the host's resolvers into a container's resolv.conf, those on the host's loopback replaced by the real ones.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn refresh_resolvers(container_dir: &Path) -> Result<()> {
    // Each may be missing: a host without names is no reason to have no container.
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let upstream: Vec<String> = UPSTREAM.iter().map(|path| read(path)).collect();
    write_in_place(&container_dir.join("resolv.conf"), &resolv_conf(&read("/etc/resolv.conf"), &upstream))
}

/// Replaces what conductor says in a container's hosts file; what others wrote there stays.
///
/// # Errors
/// `ENOSPC`, `EROFS`, `EFBIG` … with the path. A container without private files is nothing to do.
pub fn refresh_hosts(container_dir: &Path, entries: &[Entry]) -> Result<()> {
    let path = container_dir.join("hosts");
    let file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::new("open", path.display(), error)),
    };
    let mut before = Vec::new();
    file.take(LARGEST).read_to_end(&mut before).or_cannot("read", path.display())?;
    write_in_place(&path, &hosts(&String::from_utf8_lossy(&before), entries))
}

/// A hosts file with `entries` in the part that is ours, and all else as it was.
fn hosts(before: &str, entries: &[Entry]) -> String {
    let (head, tail) = match before.split_once(BEGIN) {
        Some((head, rest)) => (head, rest.split_once(END).map_or("", |(_, tail)| tail)),
        None => (before, ""),
    };
    let ours: String = entries.iter().map(|entry| format!("{}\t{}\n", entry.address, entry.names.join(" "))).collect();
    let newline = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
    format!("{head}{newline}{BEGIN}{ours}{END}{tail}")
}

/// A resolv.conf for a container: the host's, less the servers that only the host itself can reach.
///
/// `upstream` are files in which such a host names the real servers. IPv6 servers are left out too: the container's
/// network has no way there.
fn resolv_conf(host: &str, upstream: &[String]) -> String {
    let reachable = std::iter::once(host)
        .chain(upstream.iter().map(String::as_str))
        .find(|text| text.lines().any(|line| server(line).is_some_and(usable)));
    let Some(text) = reachable else {
        let rest: String = host.lines().filter(|line| !is_server(line)).map(|line| format!("{line}\n")).collect();
        return rest + "# the host names no server that this network reaches\n" + PUBLIC;
    };
    text.lines()
        .filter(|line| !is_server(line) || server(line).is_some_and(usable))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn is_server(line: &str) -> bool {
    line.split_whitespace().next() == Some("nameserver")
}

fn server(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
}

fn usable(server: IpAddr) -> bool {
    server.is_ipv4() && !server.is_loopback() && !server.is_unspecified()
}

/// Writes a file without changing which file it is: whoever has it mounted sees the new text.
fn write_in_place(path: &Path, text: &str) -> Result<()> {
    // Readable by everybody inside, like any /etc/hosts; the folder it lies in is closed to users of the host.
    let file: std::io::Result<File> =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).custom_flags(no_follow()).open(path);
    file.and_then(|file| file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64)))
        .or_cannot("write", path.display())
}

/// `O_NOFOLLOW`, as std wants it.
fn no_follow() -> i32 {
    nix::fcntl::OFlag::O_NOFOLLOW.bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn entry(address: [u8; 4], name: &str) -> Entry {
        Entry { address: address.into(), names: vec![name.to_owned()] }
    }

    #[test]
    fn our_part_of_a_hosts_file_is_replaced_and_the_rest_kept() {
        let first = hosts(LOOPBACK, &[entry([192, 168, 1, 2], "web")]);
        assert!(first.starts_with(LOOPBACK) && first.contains("192.168.1.2\tweb\n"), "{first}");
        let edited = format!("{first}10.0.0.9\tmine\n");
        let second = hosts(&edited, &[entry([192, 168, 1, 2], "web"), entry([192, 168, 2, 2], "db")]);
        assert!(second.ends_with(&format!("192.168.2.2\tdb\n{END}10.0.0.9\tmine\n")), "{second}");
        assert_eq!(second.matches("web").count(), 1, "{second}");
        assert_eq!(second.matches(BEGIN).count(), 1, "{second}");
    }

    #[test]
    fn resolvers_on_the_hosts_loopback_are_replaced_by_the_real_ones() {
        let stub = "search lab.example\nnameserver 127.0.0.53\noptions edns0\n";
        let real = "nameserver 10.0.2.3\nnameserver fe80::1\n".to_owned();
        assert_eq!(resolv_conf(stub, &[String::new(), real]), "nameserver 10.0.2.3\n");
        let mixed = "nameserver 127.0.0.1\nnameserver 10.0.2.3\nsearch lab\n";
        assert_eq!(resolv_conf(mixed, &[]), "nameserver 10.0.2.3\nsearch lab\n");
        let none = resolv_conf(stub, &[]);
        assert!(none.starts_with("search lab.example\noptions edns0\n") && none.ends_with(PUBLIC), "{none}");
        assert!(!none.contains("127.0.0.53"), "{none}");
    }

    #[test]
    fn a_private_file_stays_the_same_file_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), "eg").unwrap();
        let path = dir.path().join("hosts");
        let inode = fs::metadata(&path).unwrap().ino();
        refresh_hosts(dir.path(), &[entry([192, 168, 1, 2], "eg")]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "a bind mount would keep the old one");
        assert!(!fs::read_to_string(&path).unwrap().contains("127.0.1.1"));
        let canary = dir.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&canary, &path).unwrap();
        refresh_hosts(dir.path(), &[entry([192, 168, 1, 2], "eg")]).unwrap_err();
        assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    }
}
