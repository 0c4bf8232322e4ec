//! The file tree of the box: the host's own, under a layer that takes every change and is thrown away.
//!
//! An overlay shows a lower tree (the host's `/`) and keeps what is written in an upper one (a tmpfs with a size limit).
//! The upper layer is also where things are hidden: a directory marked *opaque* there shows nothing of the one below it,
//! and since that is a property of the layer and no mount, a submission cannot unmount it to look underneath. Hidden are
//! the homes, temporary and runtime folders, the submission's origin and the grader itself, which knows the answers.
//! Look: `findmnt -t overlay`. Manual: mount(8), the kernel's overlayfs document, pivot_root(2), mount_namespaces(7).

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use procfs::process::{MountInfo, Process};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use crate::error::{Error, OrCannot, Result};

use super::ROOTS_PATH;
use super::cgroup::CgroupMount;
use super::walls::{self, Wall};

/// The name under which the box's tmpfs stands in mountinfo: outside a box, it must never be seen.
pub const SOURCE: &str = "grade-box";

/// What the box's file tree is to be.
#[derive(Debug, Clone, Default)]
pub struct RootPlan {
    /// Bytes that may be written.
    pub size_bytes: u64,
    /// The host name, for `/etc/hostname` and `/etc/hosts`.
    pub hostname: String,
    /// Folders and files of the host that the box must not see.
    pub hide: Vec<PathBuf>,
    /// The submission's folder in the box.
    pub folder: PathBuf,
    /// What lies in it.
    pub files: Vec<SandboxFile>,
    /// Files of the box's own system, by absolute path: they take the place of the host's.
    pub system: Vec<SandboxFile>,
    /// `/home` is a file system of its own, so that a tool can keep the upper layer of an overlay there: one overlay
    /// cannot be written to through another.
    pub own_home: bool,
    /// The cgroup file systems, in the order they are mounted.
    pub cgroups: Vec<CgroupMount>,
}

/// One file that the box is given.
#[derive(Debug, Clone)]
pub struct SandboxFile {
    /// Its path below the submission's folder.
    pub path: PathBuf,
    /// What it is.
    pub what: FileKind,
}

/// The kind of a file in the sandbox.
#[derive(Debug, Clone)]
pub enum FileKind {
    /// A directory.
    Folder,
    /// A file with these bytes and permissions.
    File {
        /// The content.
        bytes: Vec<u8>,
        /// The permissions.
        mode: u32,
    },
    /// A symbolic link to there.
    Link(PathBuf),
}

/// Folders of the host that are empty in every box, with their modes.
const EMPTY: [(&str, u32); 18] = [
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/var/log", 0o755),
    ("/var/spool", 0o755),
    ("/var/opt", 0o755),
    ("/var/local", 0o755),
    ("/var/backups", 0o755),
    ("/run", 0o755),
    ("/home", 0o755),
    ("/root", 0o700),
    ("/mnt", 0o755),
    ("/media", 0o755),
    ("/lost+found", 0o700),
    ("/boot", 0o755),
    ("/opt", 0o755),
    ("/srv", 0o755),
    ("/usr/src", 0o755),
    ("/usr/local/src", 0o755),
];

/// Folders of the host of which the box has these entries only; the others are empty there, or missing.
const PARTS: [(&str, &[&str]); 3] =
    [("/var", &["lib", "cache"]), ("/var/lib", &["dpkg", "apt"]), ("/var/cache", &["apt", "debconf"])];

/// Files of `/etc` that identify this machine or hold credentials. `*` stands for anything.
const SECRETS: [&str; 18] = [
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssl/private",
    "/etc/letsencrypt",
    "/etc/krb5.keytab",
    "/etc/sssd",
    "/etc/munge",
    "/etc/slurm",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/ipsec.secrets",
    "/etc/NetworkManager/system-connections",
    "/etc/netplan",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/mysql/debian.cnf",
];

/// Programs that could be a solution, wherever a shell finds programs: an installed kit, or this grader's neighbours.
const SOLUTIONS: [&str; 9] = [
    "grade",
    "namespace_prog",
    "simple_container",
    "container_prog",
    "conductor",
    "conductor.sh",
    "service-orchestrator",
    "counter-service",
    "external-service",
];

/// Folders that, when they are mounts of their own, belong to the system the submission runs on.
const SYSTEM: [&str; 10] = ["/usr", "/etc", "/var", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/gnu"];

/// Where the kernel's own trees are mounted.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Device nodes of the box: name, minor and major number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Makes the tree and moves into it. To be called in a mount namespace of its own, by process 1 of the PID namespace.
///
/// # Errors
/// The step, its object and the kernel's reason.
pub fn enter(plan: &RootPlan) -> Result<()> {
    let host_mounts = Process::myself().and_then(|this| this.mountinfo()).or_cannot("read", "mountinfo")?;
    let layers = Layers::choose(&host_mounts.0);
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .or_cannot("make", "the mounts private")?;
    // Any directory of the host serves as a mount point: only the box's mount namespace sees it covered.
    let staging = Path::new("/tmp");
    mount_new(SOURCE, staging, "tmpfs", MsFlags::empty(), &format!("size={},mode=755", plan.size_bytes))?;
    for layer in &layers.0 {
        for part in ["upper", "work"] {
            let dir = staging.join(layer.name(part));
            fs::create_dir(&dir).or_cannot("make", &dir)?;
        }
    }
    fill_upper(plan, &layers, staging)?;
    let root = staging.join("root");
    fs::create_dir(&root).or_cannot("make", &root)?;
    for layer in &layers.0 {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            escape(&layer.lower),
            staging.join(layer.name("upper")).display(),
            staging.join(layer.name("work")).display()
        );
        mount_new(SOURCE, &below(&root, &layer.lower), "overlay", MsFlags::empty(), &options)?;
    }
    if plan.own_home {
        let home = below(&root, Path::new("/home"));
        mount_new(SOURCE, &home, "tmpfs", MsFlags::empty(), &format!("size={},mode=755", plan.size_bytes))?;
        place_files(plan, &root)?;
    }
    mount_kernel_trees(&root)?;
    mount_cgroups(&root, &plan.cgroups)?;
    std::env::set_current_dir(&root).or_cannot("enter", &root)?;
    nix::unistd::pivot_root(".", ".").or_cannot("pivot", "into the box's root")?;
    umount2(".", MntFlags::MNT_DETACH).or_cannot("let", "go of the host's root")?;
    std::env::set_current_dir("/").or_cannot("enter", Path::new("/"))?;
    if plan.own_home {
        // As on a host that systemd has set up: what a tool mounts in a copy of these mounts shows here, unless it takes
        // care. The box shares no mount with the machine.
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SHARED, nothing)
            .or_cannot("make", "the box's mounts shared")?;
    }
    Ok(())
}

/// The overlays of the box, the root first; each is the lower tree it covers.
struct Layers(Vec<Layer>);

/// One overlay.
struct Layer {
    nr: usize,
    lower: PathBuf,
    /// Whether other mounts stand below its lower tree, which an overlay does not show.
    hides: Vec<PathBuf>,
}

impl Layers {
    /// The root, and every mount of a real file system that holds a part of the system.
    fn choose(mounts: &[MountInfo]) -> Layers {
        let points: Vec<PathBuf> = mounts.iter().map(|mount| unescape(&mount.mount_point)).collect();
        let is_system = |mount: &MountInfo, point: &Path| {
            let pseudo = [
                "proc", "sysfs", "tmpfs", "ramfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "autofs", "nsfs", "vfat",
            ];
            let hidden = EMPTY.iter().any(|(dir, _)| point.starts_with(dir));
            SYSTEM.iter().any(|dir| point.starts_with(dir))
                && !hidden
                && !pseudo.contains(&mount.fs_type.as_str())
                && point.is_dir()
        };
        let system =
            mounts.iter().zip(&points).filter(|(mount, point)| is_system(mount, point)).map(|(_, point)| point);
        let mut lowers: Vec<PathBuf> = std::iter::once(PathBuf::from("/")).chain(system.cloned()).collect();
        lowers.dedup();
        let layers = lowers.into_iter().enumerate().map(|(nr, lower)| {
            let hides = points.iter().filter(|point| **point != lower && point.starts_with(&lower)).cloned().collect();
            Layer { nr, lower, hides }
        });
        Layers(layers.collect())
    }

    /// The layer that shows `path`, unless a mount that the box does not have is in between.
    fn showing(&self, path: &Path) -> Option<&Layer> {
        let layer = self.0.iter().rev().find(|layer| path.starts_with(&layer.lower))?;
        (!layer.hides.iter().any(|point| path.starts_with(point))).then_some(layer)
    }
}

impl Layer {
    fn name(&self, part: &str) -> String {
        format!("{part}{}", self.nr)
    }
}

/// Puts into the upper layers what the box has and the host has not, and the marks that hide what it must not see.
fn fill_upper(plan: &RootPlan, layers: &Layers, staging: &Path) -> Result<()> {
    let upper_of = |layer: &Layer| staging.join(layer.name("upper"));
    // The root directory of an overlay has the mode of its upper layer.
    for layer in &layers.0 {
        copy_mode(&layer.lower, &upper_of(layer))?;
    }
    let empty = EMPTY.iter().map(|(path, mode)| (PathBuf::from(path), Some(*mode)));
    let hide =
        strangers()?.into_iter().chain(parts()).chain(secrets()).chain(solutions()).chain(plan.hide.iter().cloned());
    let hide = hide.map(|path| (path, None));
    let mut hidden: Vec<PathBuf> = Vec::new();
    for (path, mode) in empty.chain(hide).filter(|_| walls::stands(Wall::View)) {
        let Some(layer) = layers.showing(&path) else { continue };
        if hidden.iter().any(|above| path.starts_with(above)) || path == layer.lower {
            continue;
        }
        let Ok(there) = fs::symlink_metadata(&path) else { continue };
        let relative = path.strip_prefix(&layer.lower).unwrap_or(&path);
        let here = upper_of(layer).join(relative);
        make_folders(&layer.lower, &upper_of(layer), relative.parent().unwrap_or(Path::new("")))?;
        if let (Some(mode), true) = (mode, there.is_dir()) {
            fs::create_dir(&here).or_else(ignore_existing).or_cannot("make", &here)?;
            fs::set_permissions(&here, Permissions::from_mode(mode)).or_cannot("set the mode of", &here)?;
            setxattr(&here, "trusted.overlay.opaque", b"y", XattrFlags::empty()).or_cannot("hide", &path)?;
        } else if mode.is_none() || !there.is_symlink() {
            // A character device 0,0 in the upper layer is overlayfs's word for "removed".
            mknodat(CWD, &here, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).or_cannot("hide", &path)?;
        }
        hidden.push(path);
    }
    let Some(root) = layers.0.first().map(upper_of) else { return Err(Error::broken("the box has no root layer")) };
    let etc = layers.showing(Path::new("/etc")).map_or_else(
        || root.join("etc"),
        |layer| upper_of(layer).join(Path::new("/etc").strip_prefix(&layer.lower).unwrap_or(Path::new(""))),
    );
    if !etc.exists() {
        make_folders(Path::new("/"), &root, Path::new("etc"))?;
    }
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {0}\n::1 localhost ip6-localhost\n", plan.hostname);
    write_file(&etc.join("hosts"), hosts.as_bytes(), 0o644)?;
    write_file(&etc.join("hostname"), format!("{}\n", plan.hostname).as_bytes(), 0o644)?;
    write_file(&etc.join("shadow"), without_passwords("/etc/passwd", ":*:19000:0:99999:7:::").as_bytes(), 0o640)?;
    write_file(&etc.join("gshadow"), without_passwords("/etc/group", ":*::").as_bytes(), 0o640)?;
    let run_lock = root.join("run/lock");
    fs::create_dir_all(&run_lock).or_cannot("make", &run_lock)?;
    for file in &plan.system {
        let Some(layer) = layers.showing(&file.path) else { continue };
        let relative = file.path.strip_prefix(&layer.lower).unwrap_or(&file.path);
        make_folders(&layer.lower, &upper_of(layer), relative.parent().unwrap_or(Path::new("")))?;
        place_file(&upper_of(layer), &SandboxFile { path: relative.to_owned(), what: file.what.clone() })?;
    }
    if plan.own_home { Ok(()) } else { place_files(plan, &root) }
}

/// Puts the submission into its folder below `root`.
fn place_files(plan: &RootPlan, root: &Path) -> Result<()> {
    let folder = below(root, &plan.folder);
    fs::create_dir_all(&folder).or_cannot("make", &folder)?;
    plan.files.iter().try_for_each(|file| place_file(&folder, file))
}

/// Folders at the root of the machine that no distribution has: they are private, and may hold a solution.
fn strangers() -> Result<Vec<PathBuf>> {
    let known = |path: &Path| {
        let named = |dir: &str| path == Path::new(dir);
        let library = path.to_string_lossy().starts_with("/lib");
        library || SYSTEM.iter().chain(&KERNEL).any(|dir| named(dir)) || EMPTY.iter().any(|(dir, _)| named(dir))
    };
    let root = Path::new("/");
    let entries = fs::read_dir(root).or_cannot("list", root)?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| !known(path)).collect())
}

/// What of [`PARTS`] the box has not.
fn parts() -> impl Iterator<Item = PathBuf> {
    PARTS.into_iter().flat_map(|(folder, shown)| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_shown = move |path: &PathBuf| {
            // `/var/run` and `/var/lock` are links to places that are empty in the box.
            let leads_to_run =
                || fs::read_link(path).is_ok_and(|to| to.starts_with("/run") || to.starts_with("../run"));
            shown.iter().any(|name| path.ends_with(name)) || leads_to_run()
        };
        entries.filter(move |path| !is_shown(path))
    })
}

/// What there is of [`SECRETS`].
fn secrets() -> impl Iterator<Item = PathBuf> {
    SECRETS.into_iter().flat_map(|secret| {
        let Some((before, after)) = secret.split_once('*') else { return vec![PathBuf::from(secret)] };
        let (folder, start) = before.rsplit_once('/').unwrap_or(("/", before));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let is_it = |name: &str| name.starts_with(start) && name.ends_with(after);
        entries.filter(|entry| entry.file_name().to_str().is_some_and(is_it)).map(|entry| entry.path()).collect()
    })
}

fn solutions() -> impl Iterator<Item = PathBuf> {
    let folders = ROOTS_PATH.split(':').filter_map(|folder| fs::canonicalize(folder).ok());
    folders.flat_map(|folder| SOLUTIONS.map(|name| folder.join(name)))
}

/// The entries of a file such as `/etc/passwd`, each name with `rest` in place of its other fields, so that no password is there.
fn without_passwords(file: &str, rest: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| format!("{name}{rest}\n"));
    names.collect()
}

fn place_file(folder: &Path, file: &SandboxFile) -> Result<()> {
    if file.path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(Error::usage(format!("{} is no path inside the submission's folder", file.path.display())));
    }
    let path = folder.join(&file.path);
    // A file may come before the folder that it lies in. Links are not followed: one could lead out of the box.
    let mut above = folder.to_owned();
    for part in file.path.parent().into_iter().flat_map(Path::components) {
        above.push(part);
        match fs::symlink_metadata(&above) {
            Ok(there) if there.is_dir() => {}
            Ok(_) => {
                return Err(Error::usage(format!(
                    "{} lies below {}, which is no folder",
                    path.display(),
                    above.display()
                )));
            }
            Err(_) => fs::create_dir(&above).or_cannot("make", &above)?,
        }
    }
    match &file.what {
        FileKind::Folder => fs::create_dir(&path).or_else(ignore_existing).or_cannot("make", &path),
        FileKind::File { bytes, mode } => write_file(&path, bytes, *mode),
        FileKind::Link(target) => symlink(target, &path).or_cannot("link", &path),
    }
}

/// proc, sysfs and a `/dev` of the box's own.
fn mount_kernel_trees(root: &Path) -> Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_new("proc", &root.join("proc"), "proc", safe, "")?;
    mount_new("sysfs", &root.join("sys"), "sysfs", safe, "")?;
    let dev = root.join("dev");
    mount_new("udev", &dev, "tmpfs", MsFlags::MS_NOSUID, "size=1m,mode=755")?;
    for (name, major, minor) in DEVICES {
        let node = dev.join(name);
        mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))
            .or_cannot("make", &node)?;
        // mknod(2) subtracts the umask.
        fs::set_permissions(&node, Permissions::from_mode(0o666)).or_cannot("set the mode of", &node)?;
    }
    let links =
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
    for (name, target) in links {
        symlink(target, dev.join(name)).or_cannot("link", dev.join(name))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name)).or_cannot("make", dev.join(name))?;
    }
    let pts = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_new("devpts", &dev.join("pts"), "devpts", pts, "newinstance,ptmxmode=0666,mode=0620")?;
    mount_new("tmpfs", &dev.join("shm"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "size=64m,mode=1777")?;
    mount_new("mqueue", &dev.join("mqueue"), "mqueue", safe, "")
}

fn mount_cgroups(root: &Path, mounts: &[CgroupMount]) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for cgroup in mounts {
        let target = below(root, &cgroup.target);
        if cgroup.kind == "tmpfs" {
            // The host's links (cpu -> cpu,cpuacct) come along.
            let links: Vec<(PathBuf, PathBuf)> = fs::read_dir(&cgroup.target)
                .map(|entries| {
                    entries
                        .flatten()
                        .filter_map(|e| Some((e.file_name().into(), fs::read_link(e.path()).ok()?)))
                        .collect()
                })
                .unwrap_or_default();
            mount_new("tmpfs", &target, "tmpfs", flags, &cgroup.options)?;
            for (name, to) in links {
                symlink(to, target.join(&name)).or_cannot("link", &name)?;
            }
        } else {
            fs::create_dir_all(&target).or_cannot("make", &target)?;
            mount_new(&cgroup.kind, &target, &cgroup.kind, flags, &cgroup.options)?;
        }
    }
    Ok(())
}

/// Makes `relative` and what is above it in the upper layer, each with the mode and owner of the lower one.
fn make_folders(lower: &Path, upper: &Path, relative: &Path) -> Result<()> {
    let (mut from, mut to) = (lower.to_owned(), upper.to_owned());
    for part in relative.components() {
        from.push(part);
        to.push(part);
        match fs::create_dir(&to) {
            Ok(()) => copy_mode(&from, &to)?,
            Err(why) => ignore_existing(why).or_cannot("make", &to)?,
        }
    }
    Ok(())
}

fn copy_mode(from: &Path, to: &Path) -> Result<()> {
    let Ok(like) = fs::metadata(from) else { return Ok(()) };
    fs::set_permissions(to, Permissions::from_mode(like.mode() & 0o7777)).or_cannot("set the mode of", to)?;
    std::os::unix::fs::chown(to, Some(like.uid()), Some(like.gid())).or_cannot("set the owner of", to)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path).or_cannot("make", path)?;
    file.write_all(bytes).or_cannot("write", path)
}

fn mount_new(source: &str, target: &Path, kind: &str, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(source), target, Some(kind), flags, Some(options).filter(|options| !options.is_empty()))
        .or_cannot(&format!("mount {kind} on"), target)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn ignore_existing(why: io::Error) -> io::Result<()> {
    if why.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(why) }
}

/// A path as overlayfs wants it in `lowerdir=`, where `:` and `,` part things.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

/// A path as mountinfo writes it: blanks and the like are `\040`, three octal digits.
pub fn unescape(path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let text = path.as_os_str().as_bytes();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use procfs::FromRead;

    fn choose(text: &str) -> Layers {
        Layers::choose(&procfs::process::MountInfos::from_read(text.as_bytes()).unwrap().0)
    }

    #[test]
    fn a_blank_in_a_mount_point_is_read_back() {
        assert_eq!(unescape(Path::new("/mnt/my\\040disk")), Path::new("/mnt/my disk"));
        assert_eq!(unescape(Path::new("/a\\9")), Path::new("/a\\9"));
    }

    #[test]
    fn files_may_come_before_their_folders_and_never_lead_through_a_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |path: &str, what| SandboxFile { path: PathBuf::from(path), what };
        let bytes = || FileKind::File { bytes: b"x".to_vec(), mode: 0o644 };
        for planted in [
            file("a/b/link", FileKind::Link("../c".into())),
            file("a/b", FileKind::Folder),
            file("a/c", bytes()),
            file("out", FileKind::Link(other.path().to_owned())),
            file("name", FileKind::Link(other.path().join("new"))),
        ] {
            place_file(dir.path(), &planted).unwrap();
        }
        assert_eq!(fs::read_to_string(dir.path().join("a/b/link")).unwrap(), "x");
        for leads_out in ["out/file", "out/deeper/file", "name"] {
            assert!(place_file(dir.path(), &file(leads_out, bytes())).is_err(), "{leads_out}");
        }
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_separate_usr_is_shown_and_a_separate_home_is_not() {
        let layers = choose(concat!(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n",
            "2 1 8:2 / /usr rw - ext4 /dev/sda2 rw\n",
            "3 1 8:3 / /home rw - ext4 /dev/sda3 rw\n",
            "4 1 0:5 / /var/run-me rw - tmpfs tmpfs rw\n"
        ));
        let lowers: Vec<_> = layers.0.iter().map(|layer| layer.lower.to_str().unwrap()).collect();
        assert_eq!(lowers, ["/", "/usr"]);
        assert_eq!(layers.showing(Path::new("/usr/bin")).map(|layer| layer.nr), Some(1));
        assert_eq!(layers.showing(Path::new("/etc")).map(|layer| layer.nr), Some(0));
        assert!(layers.showing(Path::new("/home/kit")).is_none(), "the box does not have that mount at all");
    }
}
