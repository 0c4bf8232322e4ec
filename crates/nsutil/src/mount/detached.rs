//! Mounts that are nowhere yet: made, shaped and held by a descriptor, and only then put in place.
//!
//! mount(2) does everything at once and by path: what to mount, with which options, and where. A path can be made to
//! mean something else between two looks at it, and in a folder that belongs to a container that is what an attacker
//! does: `/proc` becomes a symbolic link to `/etc` just in time. The newer calls take the three parts asunder.
//! fsopen(2) and fsmount(2) make a mount that no path leads to, mount_setattr(2) makes it read-only while nobody can
//! see it, and move_mount(2) puts it onto a directory that was opened before and looked at since.
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

/// A mount that no path leads to yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Detached {
    descriptor: OwnedFd,
    /// What it is, for a person: `proc`, or the path it was cloned from.
    what: String,
}

/// A new file system to be mounted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filesystem<'a> {
    /// Its type: a line of /proc/filesystems.
    pub kind: &'a str,
    /// Options of that type, such as `("size", "64m")`; an empty value is a flag.
    pub options: &'a [(&'a str, &'a str)],
    /// What holds for everything reached through the mount.
    pub attributes: Attributes,
}

/// What holds for everything reached through a mount. See mount_setattr(2).
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
    /// What a container's proc has, for instance: no devices, no set-user-ID programs, no programs at all.
    pub const DATA_ONLY: Self = Self { read_only: false, no_devices: true, no_set_user_id: true, no_execution: true };

    /// The same, and nothing can be written either.
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

/// As mount(8) takes them: `ro,nosuid,nodev,noexec`.
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
    /// Makes the file system and a mount of it that is nowhere yet.
    ///
    /// # Errors
    /// `ENODEV` when the kernel does not know the type; `EINVAL` for an option it does not take, with the kernel's own
    /// words where it has some; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn make(&self) -> Result<Detached> {
        let Self { kind, options, attributes } = *self;
        step!("fsmount",
            call: "fd = fsopen(\"{kind}\"); fsconfig(fd, {options:?}); fsmount(fd, {attributes})";
            why: "a {kind} that no path leads to yet: nobody can come between its making and its placing";
            shell: "mount -t {kind} -o {attributes}{} {kind} DIR", MountOptions(options));
        let options = options.iter().map(|(key, value)| (*key, OsStr::new(value)));
        let descriptor = make(kind, options, attributes.flags())
            .map_err(|MountError { errno, message }| message.map_or(errno.into(), crate::error::Cause::Words))
            .or_cannot("mount a new", kind)?;
        Ok(Detached { descriptor, what: kind.to_owned() })
    }
}

/// What the kernel answered.
pub(super) struct MountError {
    pub(super) errno: Errno,
    /// Its own words, if it has some.
    message: Option<String>,
}

/// A mount of a new file system: fsopen(2), fsconfig(2) for each option, fsmount(2).
pub(super) fn make<'a>(
    kind: &str,
    options: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    attributes: MountAttrFlags,
) -> std::result::Result<OwnedFd, MountError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Its first column in /proc/mounts.
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
    /// A second mount of the file or folder that `file` is open on: what a bind mount puts in place.
    ///
    /// # Errors
    /// `EINVAL` when it is in another mount namespace; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn of_file(file: BorrowedFd<'_>, what: impl Into<String>) -> Result<Self> {
        Self::clone(file, what.into(), OpenTreeFlags::empty())
    }

    /// The same with all that is mounted below it.
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

    /// Adds attributes to those it has.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before Linux 5.12.
    pub fn restrict(self, attributes: Attributes) -> Result<Self> {
        self.add(attributes, MountScope::Mount)
    }

    /// Adds attributes to it and to all that is mounted below.
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

    /// Puts it onto `place`, a file or folder that is open.
    ///
    /// # Errors
    /// `ENOTDIR` for a folder onto a file or a file onto a folder; `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` when the
    /// place is in another mount namespace, or the mount is in place already.
    pub fn attach(self, place: BorrowedFd<'_>, shown: &Path) -> Result<()> {
        step!("move_mount",
            call: "move_mount(mount of {}, \"\", {}, \"\")", self.what, shown.display();
            why: "from here on {} leads to it; the place is a descriptor, so no link can lead elsewhere", shown.display();
            shell: "mount --move DIR {}", shown.display());
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.descriptor, "", place, "", flags)
            .or_cannot(format_args!("mount {} on", self.what), shown.display())
    }

    /// What it shows, without ever being put in place: the mount lives as long as the descriptor.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// Adds attributes to a mount that is in its place; `mount` is its topmost folder, or the file.
///
/// # Errors
/// `EINVAL` when it is none; `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before Linux 5.12.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes, shown: &Path) -> Result<()> {
    step!("mount_setattr", call: "mount_setattr({}, add {attributes})", shown.display();
        why: "from here on it holds for everything reached through this mount";
        shell: "mount -o remount,bind,{attributes} {}", shown.display());
    sys::mount_setattr(mount, attributes.bits(), 0, MountScope::Mount)
        .or_cannot(format_args!("make {attributes} the mount at"), shown.display())
}

/// Takes attributes away from a mount that is in its place.
///
/// # Errors
/// Those of [`restrict`].
pub fn clear_attributes(mount: BorrowedFd<'_>, attributes: Attributes, shown: &Path) -> Result<()> {
    step!("mount_setattr", call: "mount_setattr({}, take away {attributes})", shown.display();
        why: "what was kept from working in this mount works from here on";
        shell: "mount -o remount,bind,dev,suid,exec {}", shown.display());
    sys::mount_setattr(mount, 0, attributes.bits(), MountScope::Mount)
        .or_cannot(format_args!("take {attributes} from the mount at"), shown.display())
}

/// Opens the folder at `path` below `within` to mount something on it; it is made if it is missing.
///
/// # Errors
/// In words when a symbolic link or something other than a folder is there: whoever made the image wants the mount to
/// land somewhere else (CVE-2019-19921, CVE-2026-41579).
pub fn mount_point(within: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    Root::without_links(within).make_folder(path).map_err(|errno| match errno {
        Errno::ELOOP => Error::new("mount on", path.display(), "a symbolic link stands there")
            .hint("a container's root must have a real folder there"),
        Errno::ENOTDIR => Error::new("mount on", path.display(), "it is not a folder"),
        errno => Error::new("open", path.display(), errno),
    })
}

/// The kernel's own words about a refused option, if it has left some in the context.
fn message(context: &OwnedFd, errno: rustix::io::Errno) -> Option<String> {
    let mut message = [0; 256];
    let said = rustix::io::read(context, &mut message).ok()?;
    let errno = Errno::from_raw(errno.raw_os_error());
    // "e overlay: …": an error, a warning or an information, by its first letter.
    let text = std::str::from_utf8(&message[..said]).ok()?.trim().get(2..).filter(|text| !text.is_empty())?;
    Some(format!("{} ({errno:?}): {text}", errno.desc()))
}

/// Options as mount(8) takes them, each after a comma.
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

/// Whether `file` is the device node with these numbers, and not something that only has its name.
///
/// # Errors
/// None that a valid descriptor can cause.
pub fn is_character_device(file: BorrowedFd<'_>, major: u32, minor: u32) -> Result<bool> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::BASIC_STATS)
        .or_cannot("look at", "a device node")?;
    let is_device =
        rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode)) == rustix::fs::FileType::CharacterDevice;
    Ok(is_device && (stat.stx_rdev_major, stat.stx_rdev_minor) == (major, minor))
}
