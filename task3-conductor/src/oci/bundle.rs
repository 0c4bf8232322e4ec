//! `bundle`: a container for runc, crun, youki or whoever reads the runtime specification.
//!
//! What `run` does by forty calls, the runtime specification says in one document: which namespaces, which mounts in which
//! order, which capabilities, which calls are let through. A *bundle* is a folder with that document (`config.json`) and the
//! root. Side by side they are one lesson: each line of the document is a step of [`crate::container::setup`]. What has
//! no word there is left out: the reaper of `--init`, the network of `addnetwork`, the relay of what is printed.
//!
//! Look: `conductor bundle eg eg && jq . eg/config.json`, `cd eg && runc run eg`. Source: runtime-spec, config.md and
//! config-linux.md; runc(8).

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::copy::copy_everything;
use nsutil::rooted::remove_tree;
use nsutil::seccomp::{Rule, rules};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use syscalls::Sysno;

use crate::container::masks;
use crate::hosts_file;
use crate::spec::resources::PERIOD_US;
use crate::spec::user::Credentials;
use crate::spec::volume::{SHARED_MEMORY, Volume, VolumeSource};
use crate::store::Store;
use crate::store::record::ContainerRecord;

/// Version of the specification that this is written to.
const VERSION: &str = "1.0.2";

/// Writes the bundle of a container to a new folder.
///
/// # Errors
/// In words when something is there, or the container is one that no bundle describes; `ENOSPC` … with the path. Then nothing is there.
pub fn bundle(store: &Store, record: &ContainerRecord, place: &Path) -> Result<()> {
    if !record.confinement.is_contained() {
        let why = "it was started with --privileged or --weak, and a bundle describes a container that is contained";
        return Err(Error::new("describe", format_args!("container {}", record.name), why));
    }
    let draft = Draft::new(place)?;
    let directory = store.container_dir(&record.name);
    let root = draft.beside.join("rootfs");
    DirBuilder::new().mode(0o755).create(&root).or_cannot("make folder", root.display())?;
    copy_everything(&directory.join("rootfs"), &root)?;
    for (file, _) in hosts_file::FILES {
        fs::copy(directory.join(file), draft.beside.join(file)).or_cannot("copy", directory.join(file).display())?;
    }
    let identity = match &record.user {
        Some(user) => Credentials::of(user, File::open(&root).or_cannot("open", root.display())?.as_fd())?,
        None => Credentials::root(),
    };
    let config = draft.beside.join("config.json");
    let text = config_json(record, &identity)?;
    fs::write(&config, text).or_cannot("write", config.display())?;
    draft.keep()
}

/// A folder that is being made beside its place: removed when dropped, unless it is kept.
struct Draft {
    beside: PathBuf,
    place: PathBuf,
}

impl Draft {
    fn new(place: &Path) -> Result<Self> {
        let shown = place.display().to_string();
        let shown = shown.as_str();
        let taken = |why: &str| Error::new("make a bundle at", shown, why.to_owned()).hint("choose another folder");
        let first = fs::read_dir(place).map(|mut entries| entries.next());
        match first {
            Ok(Some(_)) => return Err(taken("the folder is not empty")),
            Err(_) if place.exists() => return Err(taken("it is no folder")),
            _ => (),
        }
        let name = place.file_name().ok_or_else(|| taken("it has no name"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let beside = place.with_file_name(hidden);
        // For root alone, as the store: there are set-user-ID programs in it.
        DirBuilder::new().mode(0o700).create(&beside).or_cannot("make folder", shown)?;
        Ok(Self { beside, place: place.components().collect() })
    }

    fn keep(self) -> Result<()> {
        fs::rename(&self.beside, &self.place).or_cannot("write", self.place.display())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` there is nothing of that name.
        let _ = remove_tree(&self.beside);
    }
}

/// The document, checked by the crate that knows its shape.
fn config_json(record: &ContainerRecord, identity: &Credentials) -> Result<String> {
    let document = document(record, identity);
    let spec: Spec =
        serde_json::from_value(document).map_err(|error| error.to_string()).or_cannot("describe", &record.name)?;
    // By way of a value: its names are in order.
    let text = serde_json::to_value(&spec).and_then(|mut value| {
        // Sets have none.
        for set in value["process"]["capabilities"].as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
            set.as_array_mut().into_iter().for_each(|set| set.sort_by_key(ToString::to_string));
        }
        serde_json::to_string_pretty(&value)
    });
    text.map(|text| text + "\n").map_err(|error| error.to_string()).or_cannot("put into words", &record.name)
}

fn document(record: &ContainerRecord, identity: &Credentials) -> Value {
    let is_set = |key: &str| record.environment.contains_key(key);
    let home = (!is_set("HOME")).then(|| format!("HOME={}", identity.home));
    let said = record.environment.iter().map(|(key, value)| format!("{key}={value}"));
    let environment: Vec<String> = said.chain(home).collect();
    let kept: Vec<String> = record.confinement.capabilities.iter().map(|one| one.to_string()).collect();
    // Whoever is not root has none, and could be given those of its bounding set by nobody.
    let held = if identity.user == 0 { kept.clone() } else { Vec::new() };
    // There is no user namespace: root in the container is the host's, with fewer rights.
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": false,
            "user": {"uid": identity.user, "gid": identity.group, "additionalGids": identity.groups, "umask": 0o022},
            "args": record.command,
            "env": environment,
            "cwd": record.working_directory,
            "capabilities": {
                "bounding": kept, "effective": held, "permitted": held, "inheritable": [], "ambient": []
            },
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": record.read_only},
        "hostname": hostname(record),
        "mounts": mounts(record),
        "linux": {
            "namespaces": namespaces,
            "sysctl": {
                "net.ipv4.ping_group_range": "0 2147483647",
                "net.ipv4.ip_unprivileged_port_start": "0",
            },
            "resources": resources(record),
            "rootfsPropagation": "private",
            "maskedPaths": masks::MASKED.map(|path| format!("/{path}")),
            "readonlyPaths": masks::READ_ONLY.map(|path| format!("/{path}")),
            "seccomp": seccomp(record),
        },
    })
}

/// Without one of its own the container has a copy of the host's.
fn hostname(record: &ContainerRecord) -> String {
    let hosts = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    record.hostname.clone().unwrap_or_else(hosts)
}

fn mounts(record: &ContainerRecord) -> Vec<Value> {
    let mount = |kind: &str, place: &str, options: &[&str]| json!({"type": kind, "source": kind, "destination": place, "options": options});
    let mut all = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        mount("cgroup2", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"]),
        mount("tmpfs", "/dev", &["nosuid", "noexec", "mode=755", "size=64k", "nr_inodes=512"]),
        mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if !record.volumes.iter().any(|volume| volume.place == Path::new(SHARED_MEMORY)) {
        all.push(mount("tmpfs", SHARED_MEMORY, &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]));
    }
    let access = if record.read_only { "ro" } else { "rw" };
    for (file, place) in hosts_file::FILES {
        let options = ["bind", "nosuid", "noexec", "nodev", "private", access];
        all.push(json!({"type": "bind", "source": file, "destination": place, "options": options}));
    }
    all.extend(record.volumes.iter().map(volume));
    all
}

fn volume(volume: &Volume) -> Value {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    options.extend(volume.read_only.then(|| "ro".to_owned()));
    match &volume.source {
        VolumeSource::Host(path) => {
            options.extend(["rbind", "private"].map(str::to_owned));
            // What is mounted below the source comes along, and is to be as harmless.
            options.extend(["rnosuid", "rnodev"].map(str::to_owned));
            options.extend(volume.read_only.then(|| "rro".to_owned()));
            json!({"type": "bind", "source": path, "destination": volume.place, "options": options})
        }
        VolumeSource::Memory { size_bytes, executable } => {
            options.push("mode=1777".to_owned());
            options.extend(size_bytes.map(|size| format!("size={size}")));
            options.extend((!executable).then(|| "noexec".to_owned()));
            json!({"type": "tmpfs", "source": "tmpfs", "destination": volume.place, "options": options})
        }
    }
}

fn resources(record: &ContainerRecord) -> Value {
    let mut all = json!({
        // The nodes in its /dev, and no other; root in it can make none (CAP_MKNOD).
        "devices": [{"allow": false, "access": "rwm"}],
        "pids": {"limit": record.limits.max_processes().map_or(-1, i64::from)},
    });
    if let Some(memory) = record.limits.memory {
        all["memory"] = json!({"limit": memory.bytes, "swap": memory.bytes});
    }
    if let Some(cpus) = record.limits.cpus {
        all["cpu"] = json!({"quota": cpus.quota_us, "period": PERIOD_US});
    }
    all
}

/// The filter as rules; rules of several calls that say the same are one.
fn seccomp(record: &ContainerRecord) -> Value {
    let mut listed: Vec<(Rule, Vec<String>)> = Vec::new();
    for rule in rules(record.confinement.capabilities) {
        let Some(name) = Sysno::new(rule.number as usize).map(|number| number.name().to_owned()) else { continue };
        let is_same = |(other, _): &&mut (Rule, Vec<String>)| {
            other.errno == rule.errno && other.tests.is_empty() && rule.tests.is_empty()
        };
        match listed.iter_mut().find(is_same) {
            Some((_, names)) => names.push(name),
            None => listed.push((rule, vec![name])),
        }
    }
    let calls: Vec<Value> = listed.iter().map(|(rule, names)| rule_json(rule, names)).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": nix::libc::ENOSYS,
        // Only the machine's own: a call by another convention ends the process.
        "architectures": [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        "syscalls": calls,
    })
}

fn rule_json(rule: &Rule, names: &[String]) -> Value {
    let arguments: Vec<Value> = rule
        .tests
        .iter()
        .map(|test| json!({"index": test.argument, "value": test.mask, "valueTwo": test.value, "op": "SCMP_CMP_MASKED_EQ"}))
        .collect();
    let mut all =
        json!({"names": names, "action": if rule.errno.is_some() { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" }});
    if let Some(errno) = rule.errno {
        all["errnoRet"] = json!(errno);
    }
    if !arguments.is_empty() {
        all["args"] = json!(arguments);
    }
    all
}
