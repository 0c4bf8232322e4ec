//! Detached mounts: created and configured through a descriptor, and attached last.
//!
//! mount(2) does everything at once and by path: what to mount, with which options, and where. A path can change its
//! meaning between two look-ups, and in a container's folder an attacker makes it change: `/proc` becomes a symbolic
//! link to `/etc` just in time. The newer calls separate the three parts. fsopen(2) and fsmount(2) create a mount
//! without a path, mount_setattr(2) makes it read-only before it is visible, and move_mount(2) attaches it to a
//! directory that was opened and checked before.
//!
//! Look: `strace -e fsopen,fsconfig,fsmount,open_tree,mount_setattr,move_mount PROGRAM`; `findmnt` shows the outcome.
//! Manual: the kernel's document "fs/namespace"; mount_setattr(2), and mount(8) for what the options of each kind mean.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::AtFlags;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::error::{Error, OrCannot, Result};
use crate::rooted::Root;
use crate::sys::MountScope;
use crate::{step, sys};

/// A mount that is not attached. Dropping it destroys it.
#[derive(Debug)]
pub struct Detached {
    descriptor: OwnedFd,
    /// Its description in messages: `proc`, or the path it was cloned from.
    what: String,
}

/// A new file system to be mounted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filesystem<'a> {
    /// Its type: a line of /proc/filesystems.
    pub kind: &'a str,
    /// Options of that type, such as `("size", "64m")`; an option with an empty value is a flag.
    pub options: &'a [(&'a str, &'a str)],
    /// Attributes of the mount.
    pub attributes: Attributes,
}

/// Attributes of a mount. See mount_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be written.
    pub read_only: bool,
    /// Device nodes do not open their devices.
    pub no_devices: bool,
    /// Set-user-ID, set-group-ID and file capabilities are ignored.
    pub no_set_user_id: bool,
    /// No program can be executed.
    pub no_execution: bool,
}

impl Attributes {
    /// For example for a container's proc: no devices, no set-user-ID programs, no execution.
    pub const DATA_ONLY: Self = Self { read_only: false, no_devices: true, no_set_user_id: true, no_execution: true };

    /// The same, and read-only.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    fn bits(self) -> u64 {
        u64::from(self.flags().bits())
    }

    pub(super) fn flags(self) -> MountAttrFlags {
        let Self { read_only, no_devices, no_set_user_id, no_execution } = self;
        [
            (read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (no_devices, MountAttrFlags::MOUNT_ATTR_NODEV),
            (no_set_user_id, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (no_execution, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        ]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .collect()
    }
}

/// As options of mount(8): `ro,nosuid,nodev,noexec`.
impl fmt::Display for Attributes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.read_only { "ro" } else { "rw" })?;
        for (wanted, name) in
            [(self.no_set_user_id, ",nosuid"), (self.no_devices, ",nodev"), (self.no_execution, ",noexec")]
        {
            if wanted {
                out.write_str(name)?;
            }
        }
        Ok(())
    }
}

impl Filesystem<'_> {
    /// Creates the file system and a detached mount of it.
    ///
    /// # Errors
    /// `ENODEV` when the kernel does not know the type; `EINVAL` for an unknown option, with the kernel's message if
    /// there is one; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn make(&self) -> Result<Detached> {
        let Self { kind, options, attributes } = *self;
        step!("fsmount",
            call: "fd = fsopen(\"{kind}\"); fsconfig(fd, {options:?}); fsmount(fd, {attributes})";
            why: "a new {kind} instance that is not attached yet, so no other process can interfere before it is mounted";
            shell: "mount -t {kind} -o {attributes}{} {kind} DIR", MountOptions(options));
        let options = options.iter().map(|(key, value)| (*key, OsStr::new(value)));
        let descriptor = make(kind, options, attributes.flags())
            .map_err(|MountError { errno, message }| message.map_or(errno.into(), crate::error::Cause::Words))
            .or_cannot("mount a new", kind)?;
        Ok(Detached { descriptor, what: kind.to_owned() })
    }
}

/// The kernel's error.
pub(super) struct MountError {
    pub(super) errno: Errno,
    /// The kernel's message, if there is one.
    message: Option<String>,
}

/// Mounts a new file system, detached: fsopen(2), fsconfig(2) for each option, fsmount(2).
pub(super) fn make<'a>(
    kind: &str,
    options: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    attributes: MountAttrFlags,
) -> std::result::Result<OwnedFd, MountError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // The first column of /proc/mounts.
    rustix::mount::fsconfig_set_string(&context, "source", kind)?;
    let set = |(key, value): (&str, &OsStr)| {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, key)
        } else {
            rustix::mount::fsconfig_set_string(&context, key, value)
        }
    };
    options
        .into_iter()
        .try_for_each(set)
        .and_then(|()| rustix::mount::fsconfig_create(&context))
        .and_then(|()| rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
        .map_err(|errno| MountError { message: message(&context, errno), ..errno.into() })
}

impl From<rustix::io::Errno> for MountError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self { errno: Errno::from_raw(errno.raw_os_error()), message: None }
    }
}

impl Detached {
    /// Clones the mount of the open file or folder, as for a bind mount.
    ///
    /// # Errors
    /// `EINVAL` when it is in another mount namespace; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn of_file(file: BorrowedFd<'_>, what: impl Into<String>) -> Result<Self> {
        Self::clone(file, what.into(), OpenTreeFlags::empty())
    }

    /// The same, including the mounts below it.
    ///
    /// # Errors
    /// Those of [`Detached::of_file`].
    pub fn of_tree(file: BorrowedFd<'_>, what: impl Into<String>) -> Result<Self> {
        Self::clone(file, what.into(), OpenTreeFlags::AT_RECURSIVE)
    }

    fn clone(file: BorrowedFd<'_>, what: String, depth: OpenTreeFlags) -> Result<Self> {
        let flags =
            depth | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let descriptor = rustix::mount::open_tree(file, "", flags).or_cannot("make a second mount of", &what)?;
        Ok(Self { descriptor, what })
    }

    /// Adds attributes.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before Linux 5.12.
    pub fn restrict(self, attributes: Attributes) -> Result<Self> {
        self.add(attributes, MountScope::Mount)
    }

    /// Adds attributes to it and to the mounts below it.
    ///
    /// # Errors
    /// Those of [`Detached::restrict`].
    pub fn restrict_tree(self, attributes: Attributes) -> Result<Self> {
        self.add(attributes, MountScope::Tree)
    }

    fn add(self, attributes: Attributes, scope: MountScope) -> Result<Self> {
        sys::mount_setattr(self.descriptor.as_fd(), attributes.bits(), 0, scope)
            .or_cannot(format_args!("make {attributes} the mount of"), &self.what)?;
        Ok(self)
    }

    /// Attaches it at `place`, an open file or folder.
    ///
    /// # Errors
    /// `ENOTDIR` for a folder onto a file or a file onto a folder; `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` when the
    /// place is in another mount namespace, or the mount is in place already.
    pub fn attach(self, place: BorrowedFd<'_>, shown: &Path) -> Result<()> {
        step!("move_mount",
            call: "move_mount(mount of {}, \"\", {}, \"\")", self.what, shown.display();
            why: "from now on {} shows it; the target is a descriptor, so no symbolic link can redirect it", shown.display();
            shell: "mount --move DIR {}", shown.display());
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.descriptor, "", place, "", flags)
            .or_cannot(format_args!("mount {} on", self.what), shown.display())
    }

    /// Its descriptor, for use without attaching it: the mount lives as long as the descriptor.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// Adds attributes to an attached mount; `mount` is open on its root.
///
/// # Errors
/// `EINVAL` when it is not the root of a mount; `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before Linux 5.12.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes, shown: &Path) -> Result<()> {
    step!("mount_setattr", call: "mount_setattr({}, add {attributes})", shown.display();
        why: "from now on this applies to everything accessed through the mount";
        shell: "mount -o remount,bind,{attributes} {}", shown.display());
    sys::mount_setattr(mount, attributes.bits(), 0, MountScope::Mount)
        .or_cannot(format_args!("make {attributes} the mount at"), shown.display())
}

/// Removes attributes from an attached mount.
///
/// # Errors
/// Those of [`restrict`].
pub fn clear_attributes(mount: BorrowedFd<'_>, attributes: Attributes, shown: &Path) -> Result<()> {
    step!("mount_setattr", call: "mount_setattr({}, take away {attributes})", shown.display();
        why: "removes the restrictions of this mount";
        shell: "mount -o remount,bind,dev,suid,exec {}", shown.display());
    sys::mount_setattr(mount, 0, attributes.bits(), MountScope::Mount)
        .or_cannot(format_args!("take {attributes} from the mount at"), shown.display())
}

/// Opens the folder at `path` below `within` as a mount point; creates it if missing.
///
/// # Errors
/// In words when a symbolic link or something other than a folder is there: it could redirect the mount
/// (CVE-2019-19921, CVE-2026-41579).
pub fn mount_point(within: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    Root::without_links(within).make_folder(path).map_err(|errno| match errno {
        Errno::ELOOP => Error::new("mount on", path.display(), "it is a symbolic link")
            .hint("the container's root must have a real folder there"),
        Errno::ENOTDIR => Error::new("mount on", path.display(), "it is not a folder"),
        errno => Error::new("open", path.display(), errno),
    })
}

/// The kernel's message about a refused option, if there is one.
fn message(context: &OwnedFd, errno: rustix::io::Errno) -> Option<String> {
    let mut message = [0; 256];
    let said = rustix::io::read(context, &mut message).ok()?;
    let errno = Errno::from_raw(errno.raw_os_error());
    // Format "e overlay: …": the first letter stands for error, warning or information.
    let text = std::str::from_utf8(&message[..said]).ok()?.trim().get(2..).filter(|text| !text.is_empty())?;
    Some(format!("{} ({errno:?}): {text}", errno.desc()))
}

/// Options as for mount(8), each preceded by a comma.
struct MountOptions<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for MountOptions<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.0 {
            write!(out, ",{key}")?;
            if !value.is_empty() {
                write!(out, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Whether `file` is the character device with these numbers, and not another file of the same name.
pub fn is_character_device(file: BorrowedFd<'_>, major: u32, minor: u32) -> Result<bool> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::BASIC_STATS)
        .or_cannot("look at", "a device node")?;
    let is_device =
        rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode)) == rustix::fs::FileType::CharacterDevice;
    Ok(is_device && (stat.stx_rdev_major, stat.stx_rdev_minor) == (major, minor))
}
