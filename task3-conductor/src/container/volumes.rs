//! Mounts volumes by descriptor.
//!
//! Two paths are involved, and only one is trusted. The *source* is the user's, resolved on the host while its files
//! are still accessible. The *target* is resolved in the container's root by openat2(2) with `RESOLVE_IN_ROOT`, so
//! links cannot leave it, and the mount is attached to a descriptor that has been checked: a link cannot redirect it at
//! the last moment (CVE-2021-30465), nor onto /proc (CVE-2019-16884).
//!
//! Look: `conductor exec NAME -- findmnt`. Manual: mount_setattr(2), openat2(2), the kernel's document "Shared Subtrees".

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached, Filesystem};
use nsutil::rooted::Root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};

use crate::hosts_file;
use crate::spec::confinement::Confinement;
use crate::spec::volume::{SHARED_MEMORY, Volume, VolumeSource};

/// A volume that is not attached yet.
#[derive(Debug)]
pub struct PreparedVolume<'a> {
    volume: &'a Volume,
    mount: Detached,
    is_folder: bool,
}

/// Clones the mounts of all sources, in the container's mount namespace, before the host's files become inaccessible.
///
/// # Errors
/// `ENOENT` … by open(2), with the path.
pub fn prepare<'a>(volumes: &'a [Volume], confinement: Confinement) -> Result<Vec<PreparedVolume<'a>>> {
    volumes.iter().map(|volume| prepare_one(volume, confinement)).collect()
}

fn prepare_one(volume: &Volume, confinement: Confinement) -> Result<PreparedVolume<'_>> {
    let path = match &volume.source {
        VolumeSource::Host(path) => path,
        VolumeSource::Memory { size_bytes, executable } => {
            let mount = make_tmpfs(*size_bytes, *executable)?;
            return Ok(PreparedVolume { volume, mount, is_folder: true });
        }
    };
    let source = &volume.source;
    let opened = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.or_cannot("mount volume", source)?;
    let about = rustix::fs::fstat(&opened).or_cannot("look at", source)?;
    let is_folder = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
    // Devices do not work, except in a privileged container.
    let guarded = confinement.is_contained();
    let attributes =
        Attributes { read_only: volume.read_only, no_devices: guarded, no_set_user_id: guarded, no_execution: false };
    let mount = Detached::of_tree(opened.as_fd(), source.to_string())?.restrict_tree(attributes)?;
    Ok(PreparedVolume { volume, mount, is_folder })
}

/// Writable for all users of the container, like /tmp.
fn make_tmpfs(size_bytes: Option<u64>, executable: bool) -> Result<Detached> {
    let size = size_bytes.map(|size| size.to_string());
    let mut options = vec![("mode", "1777")];
    options.extend(size.as_deref().map(|size| ("size", size)));
    let attributes = Attributes { no_execution: !executable, ..Attributes::DATA_ONLY };
    Filesystem { kind: "tmpfs", options: &options, attributes }.make()
}

/// Attaches each volume below `root`; missing targets are created.
///
/// # Errors
/// In words when a link leads out of the container's files, and for a folder onto a file or a file onto a folder; those
/// of mkdir(2) and open(2).
pub fn attach(root: BorrowedFd<'_>, prepared: Vec<PreparedVolume<'_>>) -> Result<()> {
    // Mounts on which a target may be: the root, our own hosts and resolv.conf, and volumes already attached.
    let mut allowed_mounts = vec![mount_number(root, Path::new("/"))?];
    for (_, file) in hosts_file::FILES.map(|(name, place)| (name, Path::new(place))) {
        let place = MountTarget { root, allowed_mounts: &[] };
        if let Ok(found) = place.open(file.strip_prefix("/").unwrap_or(file)) {
            allowed_mounts.push(mount_number(found.as_fd(), file)?);
        }
    }
    let shared = Path::new(SHARED_MEMORY);
    if prepared.iter().any(|prepared| prepared.volume.place == shared) {
        let found = MountTarget { root, allowed_mounts: &[] }.open(shared.strip_prefix("/").unwrap_or(shared));
        allowed_mounts.push(mount_number(found.or_cannot("open", SHARED_MEMORY)?.as_fd(), shared)?);
    }
    for PreparedVolume { volume, mount, is_folder } in prepared {
        let place = MountTarget { root, allowed_mounts: &allowed_mounts };
        let path = volume.place.strip_prefix("/").unwrap_or(&volume.place);
        let found = if is_folder { place.folder(path)? } else { place.file(path)? };
        let about = rustix::fs::fstat(&found).or_cannot("look at", volume.place.display())?;
        let covers_folder = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        if is_folder != covers_folder {
            let kind = |is_folder| if is_folder { "a folder" } else { "a file" };
            return Err(Error::new(
                format_args!("mount volume {} on", volume.source),
                volume.place.display(),
                format!("the source is {}, and in the image the target is {}", kind(is_folder), kind(covers_folder)),
            ));
        }
        mount.attach(found.as_fd(), &volume.place)?;
        let now = place.open(path).or_cannot("open", volume.place.display())?;
        allowed_mounts.push(mount_number(now.as_fd(), &volume.place)?);
    }
    Ok(())
}

struct MountTarget<'a> {
    root: BorrowedFd<'a>,
    allowed_mounts: &'a [u64],
}

impl MountTarget<'_> {
    /// The folder at `path`, created if missing, with its parents.
    fn folder(&self, path: &Path) -> Result<OwnedFd> {
        if let Some(found) = self.find(path)? {
            return Ok(found);
        }
        let above = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or(Errno::ENOENT).or_cannot("make the folder", shown(path).display())?;
        match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
            Err(rustix::io::Errno::EXIST) => (),
            made => made.or_cannot("make the folder", shown(path).display())?,
        }
        self.made(path)
    }

    /// The file at `path`; an empty one is created if missing.
    fn file(&self, path: &Path) -> Result<OwnedFd> {
        if let Some(found) = self.find(path)? {
            return Ok(found);
        }
        let above = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or(Errno::ENOENT).or_cannot("make the file", shown(path).display())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&above, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(rustix::io::Errno::EXIST) => self.made(path),
            Err(errno) => Err(errno).or_cannot("make the file", shown(path).display()),
        }
    }

    /// Opens `path` if it exists, and checks that it is on an allowed mount.
    fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let found = match self.open(path) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found.or_cannot("mount a volume on", shown(path).display())?,
        };
        if self.allowed_mounts.contains(&mount_number(found.as_fd(), path)?) {
            return Ok(Some(found));
        }
        let elsewhere = Error::new("mount a volume on", shown(path).display(), "it is not on the image's file system");
        Err(elsewhere.hint("a symbolic link leads to /proc, /sys or /dev, or something is already mounted there"))
    }

    fn made(&self, path: &Path) -> Result<OwnedFd> {
        let missing = || Error::new("mount a volume on", shown(path).display(), "it is a dangling symbolic link");
        self.find(path)?.ok_or_else(missing)
    }

    fn open(&self, path: &Path) -> nix::Result<OwnedFd> {
        Root::new(self.root).open(path, OFlags::PATH)
    }
}

fn shown(path: &Path) -> std::path::PathBuf {
    Path::new("/").join(path)
}

/// The ID of the mount of a file. See `stx_mnt_id` in statx(2).
fn mount_number(file: BorrowedFd<'_>, shown: &Path) -> Result<u64> {
    let about = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    about.or_cannot("look at", shown.display()).map(|about| about.stx_mnt_id)
}
