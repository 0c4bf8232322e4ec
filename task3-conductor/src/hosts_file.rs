//! Names inside a container: its own hosts and resolv.conf files.
//!
//! `getaddrinfo` reads /etc/hosts first and then asks the servers in /etc/resolv.conf. A container needs its own of
//! both: its peers' names are not known to the host, and a resolver on the host's 127.0.0.53 is not reachable from the
//! container. The files are in the container's folder, inaccessible from inside, and are bind-mounted over those of the
//! image; so whatever links the container puts at /etc/hosts, the host writes only these. A bind mount refers to the
//! file, not its name: they are written in place, never renamed.
//!
//! Look: `conductor exec NAME -- getent hosts PEER`. Manual: hosts(5), resolv.conf(5), nsswitch.conf(5).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;

use nsutil::error::{Error, OrCannot, Result};

use crate::output::escape::quoted;
use crate::spec::hostname::Hostname;

/// The container's files: name in its folder, and path inside.
pub const FILES: [(&str, &str); 2] = [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")];

/// Entries of every container: its loopback.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const BEGIN: &str = "# conductor: from here on rewritten by addnetwork, peer and stop\n";
const END: &str = "# conductor: end\n";
/// Limit of a file's size; a container must not exhaust our memory.
const MAX_BYTES: u64 = 1 << 20;

const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where local resolvers on 127.0.0.53 and the like list the real servers.
const UPSTREAM: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];
/// Servers to use if the host has none that a container can reach.
const PUBLIC: &[u8] = b"# the host names no server that this network reaches\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";

/// One line of a hosts file: an address and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// Its names, the canonical one first.
    pub names: Vec<String>,
}

/// The user's options for names in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolverOptions {
    /// DNS servers; empty is those of the host.
    pub servers: Vec<IpAddr>,
    /// Further entries of /etc/hosts.
    pub hosts: Vec<HostsEntry>,
}

/// The network in which names are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolverNetwork {
    /// The container's own: the host's loopback is not reachable.
    Container,
    /// The host's.
    Host,
}

impl FromStr for HostsEntry {
    type Err = String;

    /// `NAME:ADDRESS`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(name, address)| {
            let name: Hostname = name.parse().ok()?;
            Some(Self { address: address.parse().ok()?, names: vec![name.to_string()] })
        });
        parsed.ok_or_else(|| {
            format!("{} is not a name with an address: write NAME:ADDRESS, for example db:10.0.0.7", quoted(text))
        })
    }
}

/// Creates the files in a container's folder before it starts.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn create(container_dir: &Path, hostname: &str, network: ResolverNetwork, options: &ResolverOptions) -> Result<()> {
    // Without a network its host name resolves to its loopback, as in Debian.
    let own = HostsEntry { address: Ipv4Addr::new(127, 0, 1, 1).into(), names: vec![hostname.to_owned()] };
    let mut before = LOOPBACK.as_bytes().to_vec();
    before.extend(lines(&options.hosts));
    write_in_place(&container_dir.join("hosts"), &replace_managed_section(&before, &lines(&[own])))?;
    let host = read_host(HOST_RESOLV_CONF);
    let text = if !options.servers.is_empty() {
        let rest = host.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_server(line));
        let servers = options.servers.iter().flat_map(|server| format!("nameserver {server}\n").into_bytes());
        rest.flatten().copied().chain(servers).collect()
    } else if network == ResolverNetwork::Host {
        host
    } else {
        replace_managed_section(b"", &resolv_conf(&host, &UPSTREAM.map(read_host)))
    };
    write_in_place(&container_dir.join("resolv.conf"), &text)
}

/// Updates the managed section of a container's resolv.conf from the host's, with reachable servers instead of those on
/// the host's loopback. A file without that section, replaced by the user, is not changed.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn refresh_resolvers(container_dir: &Path) -> Result<()> {
    let path = container_dir.join("resolv.conf");
    match read_private(&path)? {
        Some(before) if find(&before, BEGIN.as_bytes()).is_none() => Ok(()),
        before => {
            let ours = resolv_conf(&read_host(HOST_RESOLV_CONF), &UPSTREAM.map(read_host));
            write_in_place(&path, &replace_managed_section(&before.unwrap_or_default(), &ours))
        }
    }
}

/// Updates the managed section of a container's hosts file; the rest is kept.
///
/// # Errors
/// `ENOSPC`, `EROFS`, `EFBIG` … with the path. Does nothing for a container without these files.
pub fn refresh_hosts(container_dir: &Path, entries: &[HostsEntry]) -> Result<()> {
    let path = container_dir.join("hosts");
    let Some(before) = read_private(&path)? else { return Ok(()) };
    write_in_place(&path, &replace_managed_section(&before, &lines(entries)))
}

/// Whether it is a name of the loopback. See RFC 6761, "localhost".
pub fn is_loopback_name(name: &str) -> bool {
    LOOPBACK.split_whitespace().any(|known| known.eq_ignore_ascii_case(name))
}

fn lines(entries: &[HostsEntry]) -> Vec<u8> {
    let line = |entry: &HostsEntry| format!("{}\t{}\n", entry.address, entry.names.join(" "));
    entries.iter().map(line).collect::<String>().into_bytes()
}

/// Replaces the managed section by `ours`, and keeps the rest.
fn replace_managed_section(before: &[u8], ours: &[u8]) -> Vec<u8> {
    let (head, rest) = split(before, BEGIN).unwrap_or((before, b""));
    let tail = split(rest, END).map_or(&b""[..], |(_, tail)| tail);
    let newline: &[u8] = if head.is_empty() || head.ends_with(b"\n") { b"" } else { b"\n" };
    [head, newline, BEGIN.as_bytes(), ours, END.as_bytes(), tail].concat()
}

/// The text before and after a marker.
fn split<'a>(text: &'a [u8], mark: &str) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, mark.as_bytes())?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

/// The host's resolv.conf without the servers that only the host can reach. Lines are copied as bytes: they need not be
/// UTF-8.
///
/// `upstream` are files with the real servers. IPv6 servers are left out too: the container's network has no IPv6.
fn resolv_conf(host: &[u8], upstream: &[Vec<u8>]) -> Vec<u8> {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| [line, b"\n"].concat()).collect()
    };
    let is_usable = |line: &[u8]| server(line).is_some_and(usable);
    let reachable = std::iter::once(host).chain(upstream.iter().map(Vec::as_slice));
    match reachable.map(lines).find(|lines| lines.iter().any(|line| is_usable(line))) {
        Some(found) => found.into_iter().filter(|line| !is_server(line) || is_usable(line)).flatten().collect(),
        None => {
            let rest = lines(host).into_iter().filter(|line| !is_server(line));
            rest.flatten().chain(PUBLIC.iter().copied()).collect()
        }
    }
}

fn is_server(line: &[u8]) -> bool {
    String::from_utf8_lossy(line).split_whitespace().next() == Some("nameserver")
}

fn server(line: &[u8]) -> Option<IpAddr> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
}

fn usable(server: IpAddr) -> bool {
    server.is_ipv4() && !server.is_loopback() && !server.is_unspecified()
}

/// Reads a file of the host; empty if it is missing or not a regular file, which might block. A container can run
/// without names.
fn read_host(path: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|about| about.is_file()) => {
            // Use what was read before an error.
            let _ = file.take(MAX_BYTES).read_to_end(&mut text);
        }
        _ => (),
    }
    text
}

/// Reads a file of the container, if it exists.
fn read_private(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match OpenOptions::new().read(true).custom_flags(no_follow()).open(path) {
        Ok(file) => file.take(MAX_BYTES).read_to_end(&mut text).or_cannot("read", path.display())?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::new("open", path.display(), error)),
    };
    Ok(Some(text))
}

/// Writes a file in place, so that bind mounts of it show the new content.
fn write_in_place(path: &Path, text: &[u8]) -> Result<()> {
    // World-readable inside, like any /etc/hosts; the folder is closed to users of the host.
    let file: std::io::Result<File> =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).custom_flags(no_follow()).open(path);
    file.and_then(|file| file.write_all_at(text, 0).and_then(|()| file.set_len(text.len() as u64)))
        .or_cannot("write", path.display())
}

/// `O_NOFOLLOW`, as std wants it.
fn no_follow() -> i32 {
    nix::fcntl::OFlag::O_NOFOLLOW.bits()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn entry(address: [u8; 4], name: &str) -> HostsEntry {
        HostsEntry { address: address.into(), names: vec![name.to_owned()] }
    }

    fn hosts(before: &str, entries: &[HostsEntry]) -> String {
        String::from_utf8(replace_managed_section(before.as_bytes(), &lines(entries))).unwrap()
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
        let odd = replace_managed_section(b"1.2.3.4\t\xff\n", b"");
        assert!(odd.starts_with(b"1.2.3.4\t\xff\n"), "what is no UTF-8 stays as well");
    }

    #[test]
    fn resolvers_on_the_hosts_loopback_are_replaced_by_the_real_ones() {
        let stub = b"search lab.example\nnameserver 127.0.0.53\noptions edns0\n";
        let real = b"nameserver 10.0.2.3\nnameserver fe80::1\n".to_vec();
        assert_eq!(resolv_conf(stub, &[Vec::new(), real]), b"nameserver 10.0.2.3\n");
        let mixed = b"nameserver 127.0.0.1\nnameserver 10.0.2.3\nsearch lab\n";
        assert_eq!(resolv_conf(mixed, &[]), b"nameserver 10.0.2.3\nsearch lab\n");
        let none = resolv_conf(stub, &[]);
        assert!(none.starts_with(b"search lab.example\noptions edns0\n") && none.ends_with(PUBLIC), "{none:?}");
        assert!(find(&none, b"127.0.0.53").is_none(), "{none:?}");
        let odd = b"# caf\xe9\nnameserver 10.0.2.3 # \xff\n";
        assert_eq!(resolv_conf(odd, &[]), odd, "it need not be UTF-8");
    }

    #[test]
    fn a_name_is_written_with_its_address() {
        let parsed: HostsEntry = "db:10.0.0.7".parse().unwrap();
        assert_eq!(parsed, entry([10, 0, 0, 7], "db"));
        assert_eq!("six:fe80::1".parse::<HostsEntry>().unwrap().address.to_string(), "fe80::1");
        for wrong in ["", "db", "db:", ":10.0.0.7", "a b:10.0.0.7", "db:10.0.0", "db:host-gateway", "db\n:10.0.0.7"] {
            assert!(wrong.parse::<HostsEntry>().unwrap_err().contains("db:10.0.0.7"), "{wrong:?}");
        }
    }

    #[test]
    fn a_private_file_stays_the_same_file_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), "eg", ResolverNetwork::Container, &ResolverOptions::default()).unwrap();
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
