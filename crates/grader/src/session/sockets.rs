//! The TCP servers of the box and of its containers, and the process behind each.
//!
//! `/proc/PID/net/tcp` lists the sockets of that process's network namespace by number, `/proc/PID/fd` shows which
//! process has a number. Look: `nsenter -t PID -n ss -ltnp`. Manual: proc_pid_net(5), proc_pid_fd(5).

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Session;
use super::look::pids;
use crate::record::Pid;
use crate::sandbox::proc;

/// `LISTEN` of the kernel's TCP states.
const LISTEN: &str = "0A";

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The network namespace that it listens in.
    pub namespace: u64,
    /// Its process; the youngest of those that have the socket.
    pub pid: Pid,
    /// Where it listens.
    pub port: u16,
}

impl Session<'_> {
    /// All servers of the box at this moment, but for those that are the grader's own.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut sockets: BTreeMap<u64, (u64, u16)> = BTreeMap::new();
        let mut looked_at = Vec::new();
        let pids = pids(self.host().init());
        for &pid in &pids {
            let Some(&namespace) = proc::namespaces(pid).get("net") else { continue };
            if looked_at.contains(&namespace) {
                continue;
            }
            looked_at.push(namespace);
            for file in ["tcp", "tcp6"] {
                let table = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
                sockets.extend(listening(&table).map(|(port, inode)| (inode, (namespace, port))));
            }
        }
        let mut found = BTreeMap::new();
        for &pid in &pids {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            for link in open.filter_map(|entry| fs::read_link(entry.path()).ok()) {
                let inode =
                    link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                if let Some(&(namespace, port)) = inode.and_then(|inode: u64| sockets.get(&inode)) {
                    found.insert((namespace, port), Listener { namespace, pid, port });
                }
            }
        }
        found.into_values().collect()
    }

    /// Ends a process of the box, as its death would.
    pub fn kill(&self, pid: Pid) -> bool {
        let handle = rustix::process::Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let is_in_the_box = pids(self.host().init()).contains(&pid);
        is_in_the_box && handle.is_some_and(|handle| pidfd_send_signal(handle, Signal::KILL).is_ok())
    }
}

/// The ports that are listened at and the numbers of their sockets: columns 1, 3 and 9 of `/proc/net/tcp`.
fn listening(table: &str) -> impl Iterator<Item = (u16, u64)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = columns.get(1)?.rsplit_once(':')?;
        let is_server = columns.get(3) == Some(&LISTEN);
        let inode = columns.get(9)?.parse().ok()?;
        is_server.then_some((u16::from_str_radix(port, 16).ok()?, inode))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8123 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:A001 01 00000000:00000000 00:00000000 00000000     0        0 8124 1 0 20 4 30 10 -1\n";
        assert_eq!(listening(table).collect::<Vec<_>>(), [(8080, 8123)]);
    }
}
