//! Overlays: several read-only layers and one writable folder, shown as one tree.
//!
//! A container needs a file tree of its own, and copying one costs seconds and gigabytes. An overlay stacks the layers
//! of an image and puts an empty folder, the *upper*, on top: writes go there, a file of a layer is copied up when it
//! is first changed, and a *whiteout* marks a deleted one. The layers never change, so a hundred containers can share
//! them.
//!
//! The calls of [`super::detached`] take each layer separately (`lowerdir+`, since Linux 6.7), up to 500, with any
//! characters in their paths. Before that all options were one string of at most a page; there the layers are opened
//! and named `/proc/self/fd/N`, which is short and contains no `:`.
//!
//! Look: `findmnt -t overlay`; `ls UPPER` after a write. Manual: mount(8), "overlay"; the kernel's document "Overlay
//! Filesystem".

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MoveMountFlags;

use super::Mount;
use super::detached::{self, Attributes};
use crate::error::{Error, OrCannot, Result};
use crate::step;

/// The folders of an overlay.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// Read-only layers, the topmost first.
    pub layers: &'a [PathBuf],
    /// Receives the writes. It must not be on an overlay itself, nor be used by another overlay: the caller has to
    /// ensure that, the kernel would only log a warning.
    pub upper: &'a Path,
    /// An empty folder on the same file system as `upper`, for the kernel's own use.
    pub work: &'a Path,
}

/// The kernel's limit.
const MAX_LAYERS: usize = 500;

impl Overlay<'_> {
    /// Mounts it on the folder `place`, with `nodev` and `nosuid`: device nodes do not work, and set-user-ID bits and
    /// file capabilities are ignored. Otherwise an image's `ping` with a file capability that the container lacks would
    /// fail in execve(2) with `EPERM`.
    ///
    /// It is *volatile*: the upper is not synced to disk, neither at unmounting nor by a sync inside. A container's
    /// writes end with the container, so only waiting is saved; after a crash of the machine the kernel refuses to
    /// mount the same upper again.
    ///
    /// # Errors
    /// `ENOENT` when a folder is missing; `EINVAL` when `upper` is on an overlay, or on another file system than `work`;
    /// in words when there are more than 500 layers.
    pub fn mount(&self, place: &Path) -> Result<Mount> {
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            let count = format!("it takes 1 to {MAX_LAYERS} layers, these are {}", self.layers.len());
            return Err(Error::new("mount an overlay on", place.display(), count));
        }
        step!("overlay",
            call: "fsopen(\"overlay\"); fsconfig(lowerdir+ = each of {} layers, upperdir = {}, workdir = {}); fsmount(nodev, nosuid); move_mount({})",
                self.layers.len(), self.upper.display(), self.work.display(), place.display();
            why: "the image's layers are seen as one tree and stay unchanged; what the container writes goes to upper";
            shell: "mount -t overlay -o nodev,nosuid,volatile,lowerdir={},upperdir={},workdir={} overlay {}",
                LayerList(self.layers), self.upper.display(), self.work.display(), place.display());
        let mounted = match self.make() {
            Ok(mount) => rustix::mount::move_mount(&mount, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(|errno| Errno::from_raw(errno.raw_os_error())),
            // Before Linux 6.7 all layers have to be one option.
            Err(Errno::EINVAL) => self.mount_by_string(place),
            Err(errno) => Err(errno),
        };
        mounted.or_cannot("mount an overlay on", place.display()).map_err(|error| self.explain(error))?;
        Ok(Mount { target: Some(place.to_owned()) })
    }

    fn make(&self) -> nix::Result<OwnedFd> {
        // Keeps descriptors that are named in options open until the mount is made.
        let mut open = Vec::new();
        let mut options = Vec::new();
        for layer in self.layers {
            options.push(("lowerdir+", short_path(layer, layer.into(), &mut open)?));
        }
        for (key, folder) in [("upperdir", self.upper), ("workdir", self.work)] {
            options.push((key, short_path(folder, escaped(folder), &mut open)?));
        }
        options.push(("volatile", OsString::new()));
        let options = options.iter().map(|(key, value)| (*key, value.as_os_str()));
        let attributes = Attributes { no_devices: true, no_set_user_id: true, ..Attributes::default() };
        detached::make("overlay", options, attributes.flags()).map_err(|refused| refused.errno)
    }

    fn mount_by_string(&self, place: &Path) -> nix::Result<()> {
        let open =
            |path: &Path| File::open(path).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        let layers = self.layers.iter().map(|layer| open(layer)).collect::<nix::Result<Vec<File>>>()?;
        let (upper, work) = (open(self.upper)?, open(self.work)?);
        let name = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let options = format!(
            "volatile,lowerdir={},upperdir={},workdir={}",
            layers.iter().map(name).collect::<Vec<_>>().join(":"),
            name(&upper),
            name(&work)
        );
        nix::mount::mount(
            Some("overlay"),
            place,
            Some("overlay"),
            MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
            Some(options.as_str()),
        )
    }

    fn explain(&self, error: Error) -> Error {
        match error.errno() {
            Some(Errno::ENOENT) => {
                let missing =
                    self.layers.iter().map(PathBuf::as_path).chain([self.upper, self.work]).find(|path| !path.is_dir());
                match missing {
                    Some(missing) => error.hint(format_args!("there is no folder {}", missing.display())),
                    None => error,
                }
            }
            // Not only a full disk: see mount(2), namespaces(7).
            Some(Errno::ENOSPC) => error.hint(
                "the disk is full, or there are as many mounts or mount namespaces as /proc/sys/fs/mount-max or \
                 /proc/sys/user/max_mnt_namespaces allow",
            ),
            Some(Errno::EINVAL) => error.hint(format_args!(
                "the upper directory needs an ordinary file system, but {} may be on an overlay (inside a container?), \
                 NFS or FAT: choose another folder with --root; `dmesg` has the kernel's message",
                self.upper.display()
            )),
            _ => error,
        }
    }
}

/// A name for a folder: its path, or if that is too long for fsconfig(2), the path of a descriptor of it.
fn short_path(folder: &Path, path: OsString, open: &mut Vec<OwnedFd>) -> nix::Result<OsString> {
    /// Without the final NUL.
    const LONGEST: usize = 255;
    if path.len() <= LONGEST {
        return Ok(path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(folder, flags, Mode::empty());
    let descriptor = descriptor.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let name = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    open.push(descriptor);
    Ok(name.into())
}

/// In upperdir and workdir a backslash begins an escape; in `lowerdir+` it does not.
fn escaped(path: &Path) -> OsString {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if *byte == b'\\' {
            text.push(*byte);
        }
        text.push(*byte);
    }
    OsString::from_vec(text)
}

struct LayerList<'a>(&'a [PathBuf]);

impl std::fmt::Display for LayerList<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, layer) in self.0.iter().enumerate() {
            write!(out, "{}{}", if index > 0 { ":" } else { "" }, layer.display())?;
        }
        Ok(())
    }
}
