//! `conductor isolation NAME`: compare a container's isolation with the host's.
//!
//! Everything is read from /proc, without special means: namespaces by their inode numbers, privileges from `status`,
//! mounts from `mountinfo`.

use std::fs;
use std::process::ExitCode;

use nsutil::capability::Set;
use nsutil::cgroup::Cgroup;
use nsutil::error::{OrCannot, Result};

use crate::container::cgroup;
use crate::container::root;
use crate::output::say;
use crate::output::table::table;
use crate::spec::confinement::Strength;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::record::ContainerRecord;

/// Compare a container with the host: namespaces, privileges, mounts, devices, limits, and what both share
#[derive(clap::Args)]
#[command(after_help = "Example:
  conductor isolation web")]
pub struct Isolation {
    /// Container to compare
    name: ContainerName,
}

/// The links in /proc/PID/ns, see namespaces(7), and what each kind of namespace isolates.
const NAMESPACES: [(&str, &str); 8] = [
    ("uts", "host name"),
    ("pid", "processes"),
    ("net", "network"),
    ("mnt", "mounts"),
    ("ipc", "shared memory, queues"),
    ("cgroup", "view of the cgroups"),
    ("user", "users, capabilities"),
    ("time", "clocks since boot"),
];

/// What every container shares with the host.
const ONE_FOR_ALL: &str = "the kernel with its bugs, the wall clock, the kernel's log and keyrings, the disk behind every \
    file system, and memory and CPU time unless limited";

/// A process, seen from outside.
struct Side {
    pid: String,
    status: String,
    mounts: String,
}

impl Isolation {
    /// Prints it.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let (record, init) = store.running_container(&self.name, "look into")?;
        let (host, inside) = (Side::of("self".to_owned())?, Side::of(init.pid().to_string())?);
        let mut rows = Vec::new();
        for (kind, divides) in NAMESPACES {
            let (ours, theirs) = (host.namespace(kind)?, inside.namespace(kind)?);
            let verdict = if ours == theirs { "SHARED" } else { "own" };
            rows.push(row(&format!("{kind} namespace"), &ours, &theirs, &format!("{verdict}: {divides}")));
        }
        rows.extend(rights(&host, &inside));
        rows.extend(files(&host, &inside, &record));
        let devices = |root: &str| devices(root);
        let root = root::of_running(&init)?;
        let of_container = format!("/proc/self/fd/{}/dev", std::os::fd::AsRawFd::as_raw_fd(&root));
        rows.push(row(
            "devices",
            &devices("/dev").to_string(),
            &devices(&of_container).to_string(),
            "nodes in /dev itself",
        ));
        rows.extend(limits(&record, &cgroup::of(&store.tag(&self.name))?));
        let head = ["", "Host", &self.name.to_string(), ""];
        say(&table(&[18, 18, 18], &head, &rows))?;
        let shared: Vec<&str> =
            rows.iter().filter(|row| row[3].starts_with("SHARED")).map(|row| row[0].as_str()).collect();
        say(&format!("Shared: {}; {ONE_FOR_ALL}.\n", shared.join(", ")))?;
        if let Some(words) = warning(record.confinement.strength) {
            say(&format!("{words}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Side {
    fn of(pid: String) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).or_cannot("read", path)
        };
        Ok(Self { status: read("status")?, mounts: read("mountinfo")?, pid })
    }

    /// The inode number of a namespace: the same number is the same namespace.
    fn namespace(&self, kind: &str) -> Result<String> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        let link = fs::read_link(&path).or_cannot("read", path)?.to_string_lossy().into_owned();
        Ok(link.trim_start_matches(|letter| letter != '[').trim_matches(['[', ']']).to_owned())
    }

    fn line(&self, key: &str) -> &str {
        self.status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map_or("?", str::trim)
    }

    fn capabilities(&self, key: &str) -> Set {
        Set::of_mask(u64::from_str_radix(self.line(key), 16).unwrap_or(0))
    }

    /// File system type and options of the topmost mount at a path.
    fn mount(&self, place: &str) -> Option<(&str, &str)> {
        let lines = self.mounts.lines().rev();
        lines.filter_map(|line| line.split_once(" - ")).find_map(|(front, back)| {
            let fields: Vec<&str> = front.split(' ').collect();
            (fields.get(4) == Some(&place))
                .then(|| (back.split(' ').next().unwrap_or("?"), fields.get(5).copied().unwrap_or("?")))
        })
    }
}

fn row(what: &str, host: &str, inside: &str, remark: &str) -> Vec<String> {
    [what, host, inside, remark].map(str::to_owned).to_vec()
}

fn rights(host: &Side, inside: &Side) -> Vec<Vec<String>> {
    let own = inside.capabilities("CapBnd");
    let count = |set: Set| set.count().to_string();
    let yes = |text: &str| if text == "0" { "no" } else { "yes" }.to_owned();
    let names = if own.count() <= 14 { own.to_string() } else { format!("{} of {}", own.count(), Set::ALL.count()) };
    let user = |side: &Side| side.line("Uid").split_whitespace().next().unwrap_or("?").to_owned();
    vec![
        row("user", &user(host), &user(inside), "no user namespace: a number means the same user inside and outside"),
        row("capabilities", &count(host.capabilities("CapBnd")), &count(own), &names),
        row(
            "no_new_privs",
            &yes(host.line("NoNewPrivs")),
            &yes(inside.line("NoNewPrivs")),
            match inside.line("NoNewPrivs") {
                "0" => "set-user-ID programs gain privileges",
                _ => "set-user-ID programs gain no privileges",
            },
        ),
        row(
            "seccomp filter",
            &yes(host.line("Seccomp")),
            &yes(inside.line("Seccomp")),
            match inside.line("Seccomp") {
                "0" => "every system call is allowed",
                _ => "each system call is filtered",
            },
        ),
    ]
}

fn files(host: &Side, inside: &Side, record: &ContainerRecord) -> Vec<Vec<String>> {
    let kind = |side: &Side, place: &str| side.mount(place).map_or("-".to_owned(), |(kind, _)| kind.to_owned());
    // A path that is not a mount has the mode of the mount it is on: writable for root.
    let is_read_only =
        |side: &Side, place: &str| side.mount(place).is_some_and(|(_, options)| options.starts_with("ro"));
    let mode = |side: &Side, place: &str| if is_read_only(side, place) { "read-only" } else { "writable" }.to_owned();
    let count = |side: &Side| side.mounts.lines().count().to_string();
    let volumes = match record.volumes.len() {
        0 => "no volume".to_owned(),
        _ => record.volumes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    // In a chroot, mountinfo does not show the root.
    let root = inside.mount("/").map_or("a chroot", |(kind, _)| kind);
    vec![
        row("root", &kind(host, "/"), root, &volumes),
        row("mounts", &count(host), &count(inside), "entries in mountinfo"),
        row("/proc/sys", &mode(host, "/proc/sys"), &mode(inside, "/proc/sys"), "kernel settings"),
        row(
            "/proc/keys",
            "readable",
            if inside.mount("/proc/keys").is_some() { "masked" } else { "readable" },
            "its keyrings",
        ),
        row("/sys", &mode(host, "/sys"), &mode(inside, "/sys"), "its devices"),
    ]
}

/// Counts block and character devices directly in a folder; those in subfolders (disk/, pts/) are further names of
/// them.
fn devices(folder: &str) -> usize {
    use std::os::unix::fs::FileTypeExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let kinds = entries.filter_map(|entry| entry.file_type().ok());
    kinds.filter(|kind| kind.is_block_device() || kind.is_char_device()).count()
}

fn limits(record: &ContainerRecord, cgroup: &Cgroup) -> Vec<Vec<String>> {
    let limits = record.limits;
    let cpus = limits.cpus.map_or("none".to_owned(), |cpus| format!("{cpus} cores"));
    let memory = limits.memory.map_or("none".to_owned(), |memory| super::size(memory.bytes));
    let processes = limits.max_processes().map_or("none".to_owned(), |most| most.to_string());
    let now = cgroup.threads().unwrap_or(0);
    vec![
        row("limit: processes", "", &processes, &format!("now {now}")),
        row("limit: memory", "", &memory, ""),
        row("limit: CPU time", "", &cpus, ""),
    ]
}

fn warning(strength: Strength) -> Option<&'static str> {
    match strength {
        Strength::Contained => None,
        Strength::Privileged => Some("Privileged: root in the container can do to the host what root on the host can."),
        Strength::Chroot => {
            Some("Weak: the host's whole file tree is still mounted, behind a chroot that root can leave.")
        }
    }
}
