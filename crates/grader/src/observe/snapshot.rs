//! The box before and after: what a well-behaved program leaves as it found it.
//!
//! Look: `lsns`, `findmnt`, `ipcs`, `ip link` before and after. Manual: sysvipc(7), mq_overview(7).

use std::collections::BTreeMap;
use std::fs;

use nix::sched::CloneFlags;
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{PidfdFlags, pidfd_open};
use std::os::fd::AsFd;

use crate::record::{Pid, Snapshot};
use crate::sandbox::{Sandbox, proc};

/// Settings that belong to a namespace of the box and that a lab could change.
const SETTINGS: [&str; 4] = [
    "/proc/sys/kernel/domainname",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/net/ipv4/conf/default/forwarding",
];

/// Looks at the box as it is now.
pub fn take(host: &Sandbox) -> Snapshot {
    let mut shot = Snapshot {
        processes: processes(host.init()),
        mounts: mounts(host.init()),
        cgroups: host.cgroups().added(),
        ..Snapshot::default()
    };
    let inside = || {
        let mut settings = BTreeMap::new();
        for file in SETTINGS {
            let value = fs::read_to_string(file).unwrap_or_default();
            settings.insert(file.trim_start_matches("/proc/sys/").replace('/', "."), value.trim().to_owned());
        }
        (proc::own_hostname(), proc::own_links(), ipc(), settings)
    };
    let pidfd = rustix::process::Pid::from_raw(host.init()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let spaces = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET;
    let seen = pidfd.and_then(|pidfd| proc::in_namespaces(pidfd.as_fd(), spaces, inside));
    if let Some((hostname, links, ipc, settings)) = seen {
        shot.hostname = hostname;
        shot.links = links;
        shot.ipc = ipc;
        shot.settings = settings;
    }
    shot
}

/// The descendants of `init`, zombies included: all processes of the box but init.
pub fn processes(init: Pid) -> Vec<(Pid, String)> {
    let name = |pid: Pid| match proc::argv(pid) {
        argv if argv.is_empty() => {
            fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
        }
        argv => argv.join(" "),
    };
    let process = |(pid, state): (Pid, char)| {
        // The second number is the box's: its PID namespace is one below ours.
        let in_box = proc_nspid(pid).get(1).copied().unwrap_or(0);
        (in_box, if state == 'Z' { format!("{} <defunct>", name(pid)) } else { name(pid) })
    };
    let mut found: Vec<(Pid, String)> = proc::descendants(init).into_iter().map(process).collect();
    found.sort();
    found
}

fn proc_nspid(pid: Pid) -> Vec<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or("");
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn mounts(init: Pid) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// The POSIX message queues of the calling thread's IPC namespace, read from a fresh mount: the box's own may have been replaced.
fn queues() -> rustix::io::Result<Vec<String>> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let folder = openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let entries = Dir::read_from(&folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.filter(|name| ![".", ".."].contains(&name.as_str())).collect();
    names.sort();
    Ok(names)
}

/// Objects of the calling thread's IPC namespace: kind and id.
fn ipc() -> Vec<String> {
    let objects = |kind: &'static str| {
        let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let id = |line: &str| Some(format!("{kind} {}", line.split_whitespace().nth(1)?));
        text.lines().skip(1).filter_map(id).collect::<Vec<_>>()
    };
    let mut found: Vec<String> = ["shm", "sem", "msg"].into_iter().flat_map(objects).collect();
    found.extend(queues().unwrap_or_default().into_iter().map(|name| format!("mqueue {name}")));
    found
}
