//! The box at one moment, as the kernel shows it: processes and their namespaces, mounts, links, packet filter.
//!
//! Links and rules are asked for with ip(8) and iptables-save(8), the programs of this machine, run from outside in the
//! box's network namespace: nothing that the submission could have changed answers.
//! Look: `lsns`, `findmnt -N PID`, `nsenter -t PID -n ip addr`. Manual: namespaces(7), proc_pid_mountinfo(5).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use nix::sched::CloneFlags;
use rustix::fs::{FileType, Mode, OFlags, makedev};

use super::world::{tool, within};
use crate::observe::snapshot;
use crate::record::Pid;
use crate::record::steps::{Link, Look, Mount, Network, Process};
use crate::sandbox::proc;
use crate::sandbox::{Rooted, Sandbox};

/// The volume's mount point in `egg`, for a tool whose lesson has volumes.
pub const VOLUME: &str = "/shared";
/// How deep below the submission's folder names are listed.
const DEPTH: usize = 3;
/// Most names that are listed, and most processes that are looked at.
const MOST_FILES: usize = 4000;
const MOST_PROCESSES: usize = 500;
/// Most names of a directory.
const MOST_ENTRIES: usize = 100;
/// Where a process is asked what is mounted.
const TREES: [&str; 7] = ["/proc", "/sys", "/dev", "/proc/sys", "/etc/hosts", "/etc/resolv.conf", VOLUME];
/// Most bytes that are read of a file.
const MOST_BYTES: u64 = 4096;
/// Places of the host whose permissions must not change.
const SHARED: [&str; 9] =
    ["/", "/dev", "/dev/null", "/dev/shm", "/dev/pts", "/dev/ptmx", "/tmp", "/etc/resolv.conf", "/usr"];

/// Looks at the box as it is now. `folder` is the submission's, as a path in the box.
pub fn take(host: &Sandbox, folder: &Path) -> Look {
    let processes: Vec<Process> =
        pids(host.init()).into_iter().take(MOST_PROCESSES).filter_map(|pid| process(pid, host)).collect();
    let mut look = Look { shot: snapshot::take(host), processes, ..Look::default() };
    // The box's own namespaces first, then those of processes in others.
    let everybody = std::iter::once(host.init()).chain(look.processes.iter().filter(|p| !p.zombie).map(|p| p.pid));
    let mut networks = BTreeMap::new();
    for pid in everybody {
        if let Some(inode) = proc::namespaces(pid).get("net") {
            networks.entry(*inode).or_insert_with(|| network_of(pid));
        }
    }
    (look.mounts, look.networks) = (mounts_of(host.init()), networks);
    look.rules = File::open(format!("/proc/{}/ns/net", host.init())).map(|net| rules(&net)).unwrap_or_default();
    look.files = Rooted::of(host.init()).map(|root| root.list(folder, DEPTH, MOST_FILES)).unwrap_or_default();
    look.modes = SHARED.iter().filter_map(|path| Some(((*path).to_owned(), mode(host.init(), path)?))).collect();
    look
}

/// The process `pid` as it is now.
pub fn process(pid: Pid, host: &Sandbox) -> Option<Process> {
    let stat = proc::stat(pid)?;
    Some(Process {
        pid,
        argv: proc::argv(pid),
        zombie: stat.state == 'Z',
        state: proc::state(pid, host.cgroups())?,
        proc_of: proc_of(pid),
        trees: trees(pid),
        dev_null: has_null(pid),
        null_mode: mode(pid, "dev/null"),
        own_session: Some(stat.session == pid),
        entries: entries(pid, "/"),
        sys_links: entries(pid, "sys/class/net"),
        root_mode: mode(pid, ".").unwrap_or(0),
    })
}

/// What is mounted at the places that count, as `pid` sees them; the last mount covers the others.
fn trees(pid: Pid) -> BTreeMap<String, String> {
    let mounts = mounts_of(pid).into_iter().filter(|mount| TREES.contains(&mount.point.as_str()));
    mounts.map(|mount| (mount.point, mount.kind)).collect()
}

/// The names in a directory of `pid`, sorted.
fn entries(pid: Pid, path: &str) -> Vec<String> {
    Rooted::of(pid).map(|root| root.names(path, MOST_ENTRIES)).unwrap_or_default()
}

/// The permission bits of what `pid` sees as `path`.
fn mode(pid: Pid, path: &str) -> Option<u32> {
    in_root(pid, path, OFlags::PATH).and_then(rustix::fs::fstat).ok().map(|stat| stat.st_mode & 0o7777)
}

/// What is in the file that `pid` sees as `path`, up to a few thousand bytes; none when it is no plain file.
pub fn text(pid: Pid, path: &str) -> Option<String> {
    let file = File::from(in_root(pid, path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    let mut bytes = Vec::new();
    if !file.metadata().ok()?.is_file() || file.take(MOST_BYTES).read_to_end(&mut bytes).is_err() {
        return None;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The processes of the box, but for its init.
pub fn pids(init: Pid) -> Vec<Pid> {
    proc::descendants(init).into_iter().map(|(pid, _)| pid).collect()
}

/// Opens `path` as `pid` sees it; its last part is not followed when it is a link.
pub fn in_root(pid: Pid, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    Rooted::of(pid)?.open(path, flags | OFlags::NOFOLLOW)
}

/// Makes a folder where `pid` sees it, in one that is there.
pub fn make_folder(pid: Pid, path: &str) -> rustix::io::Result<()> {
    let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
    let above = in_root(pid, above, OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755))
}

/// Process 1 of a procfs is process 1 of the PID namespace that it shows.
fn proc_of(pid: Pid) -> Option<u64> {
    let link = in_root(pid, "proc/1/ns/pid", OFlags::PATH).ok()?;
    let link = rustix::fs::readlinkat(link, "", Vec::new()).ok()?;
    link.to_str().ok()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether `/dev/null` of `pid` is the device that swallows everything: character device 1, 3 of null(4).
fn has_null(pid: Pid) -> bool {
    let stat = in_root(pid, "dev/null", OFlags::PATH).and_then(rustix::fs::fstat);
    stat.is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3)
    })
}

fn mounts_of(pid: Pid) -> Vec<Mount> {
    parsed_mounts(&fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw`
fn parsed_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (place, what) = line.split_once(" - ")?;
        let (mut place, mut what) = (place.split(' ').skip(4), what.split(' '));
        Some(Mount { point: place.next()?.to_owned(), kind: what.next()?.to_owned(), source: what.next()?.to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

fn network_of(pid: Pid) -> Network {
    let Ok(net) = File::open(format!("/proc/{pid}/ns/net")) else { return Network::default() };
    let links = output(&net, "ip", &["-details", "-json", "address"]);
    let routes = output(&net, "ip", &["-4", "route"]);
    Network { links: parsed_links(&links), routes: routes.lines().map(|line| line.trim().to_owned()).collect() }
}

/// What `ip -details -json address` prints.
fn parsed_links(json: &str) -> Vec<Link> {
    let parsed: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let number = |value: Option<&serde_json::Value>| value?.as_u64().and_then(|n| u32::try_from(n).ok());
    let link = |value: &serde_json::Value| {
        let words = |key: &str| value.get(key).and_then(|list| list.as_array()).cloned().unwrap_or_default();
        let address = |address: &serde_json::Value| {
            (address.get("family")?.as_str()? == "inet")
                .then(|| Some(format!("{}/{}", address.get("local")?.as_str()?, address.get("prefixlen")?.as_u64()?)))?
        };
        Some(Link {
            name: value.get("ifname")?.as_str()?.to_owned(),
            index: number(value.get("ifindex"))?,
            peer: number(value.get("link_index")),
            kind: value.get("linkinfo").and_then(|info| Some(info.get("info_kind")?.as_str()?.to_owned())),
            up: words("flags").iter().any(|flag| flag == "UP"),
            addresses: words("addr_info").iter().filter_map(address).collect(),
        })
    };
    parsed.iter().filter_map(link).collect()
}

/// The rules of both kinds of packet filter that iptables(8) may speak to.
pub fn rules(net: &File) -> Vec<String> {
    let mut rules = parsed_rules(&output(net, "iptables-nft-save", &[]));
    // The older kind makes its tables when it is asked about them: so it is asked only where there are some.
    let names = within(net, || fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default());
    if names.is_ok_and(|names| !names.trim().is_empty()) {
        rules.extend(parsed_rules(&output(net, "iptables-legacy-save", &[])));
    }
    rules
}

/// `*nat`, `:POSTROUTING ACCEPT [0:0]`, `-A POSTROUTING …`: each as one line that says its table.
fn parsed_rules(text: &str) -> Vec<String> {
    let (mut table, mut rules) = ("", Vec::new());
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some(("*", name)) => table = name,
            Some(("-", _)) => rules.push(format!("{table} {line}")),
            Some((":", chain)) => {
                let mut words = chain.split(' ');
                let (chain, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
                // Chains of one's own have no policy.
                rules.push(if policy == "-" {
                    format!("{table} {chain} chain")
                } else {
                    format!("{table} {chain} policy {policy}")
                });
            }
            _ => {}
        }
    }
    rules
}

/// What a program of this machine prints when it is run in a network namespace; nothing when it is not there.
fn output(net: &File, program: &str, arguments: &[&str]) -> String {
    let run = || {
        let output = tool(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    within(net, run).unwrap_or_default()
}

/// The links of the box alone, to wait until one is gone.
pub fn links(host: &Sandbox) -> Vec<String> {
    let net = File::open(format!("/proc/{}/ns/net", host.init())).ok();
    net.and_then(|net| proc::in_namespaces(net.as_fd(), CloneFlags::CLONE_NEWNET, proc::own_links)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_its_table_and_counters_are_left_out() {
        let text = "# Generated\n*nat\n:PREROUTING ACCEPT [12:720]\n:MINE - [0:0]\n-A PREROUTING -j MINE\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
        assert_eq!(
            parsed_rules(text),
            [
                "nat PREROUTING policy ACCEPT",
                "nat MINE chain",
                "nat -A PREROUTING -j MINE",
                "filter FORWARD policy DROP"
            ]
        );
    }

    #[test]
    fn a_link_is_read_with_its_peer_and_its_addresses() {
        let json = r#"[{"ifindex":5,"link_index":2,"ifname":"eg-outside","flags":["BROADCAST","UP"],"link_netnsid":0,
            "linkinfo":{"info_kind":"veth"},"addr_info":[{"family":"inet","local":"192.168.1.1","prefixlen":24},
            {"family":"inet6","local":"fe80::1","prefixlen":64}]}]"#;
        let link = Link {
            name: "eg-outside".into(),
            index: 5,
            peer: Some(2),
            kind: Some("veth".into()),
            up: true,
            addresses: vec!["192.168.1.1/24".into()],
        };
        assert_eq!(parsed_links(json), [link]);
    }

    #[test]
    fn a_mount_is_read_whatever_optional_fields_it_has() {
        let text = "36 35 98:0 /a /mnt rw shared:1 master:2 - ext3 /dev/root rw\n37 35 0:5 / /proc rw - proc proc rw\n";
        let mounts = parsed_mounts(text);
        assert_eq!((mounts[0].point.as_str(), mounts[0].kind.as_str()), ("/mnt", "ext3"));
        assert_eq!((mounts[1].point.as_str(), mounts[1].source.as_str()), ("/proc", "proc"));
    }
}
