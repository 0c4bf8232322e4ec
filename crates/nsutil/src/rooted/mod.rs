//! A folder as the root of path look-ups: paths are resolved as for a process whose `/` is that folder.
//!
//! The contents of a container's folder can be changed by the container at any moment. A symbolic link `lib -> /etc`
//! must not lead a copy into the *host's* /etc, and a folder can become a link just after it was checked
//! (CVE-2018-15664). So joined paths are never opened. openat2(2) resolves a path from a descriptor of the root: with
//! `RESOLVE_IN_ROOT`, links and `..` never leave it. From there each name is opened relative to its folder with
//! `O_NOFOLLOW`, and the open file is what is checked, copied or removed.
//!
//! | file | |
//! |---|---|
//! | this one | looks up a path; creates the folders of a path |
//! | `walk` | walks everything below a folder |
//! | [`copy`] | copies a tree from one root into another |
//! | `remove` | removes a tree of any depth |
//!
//! Look: `strace -e openat2,openat PROGRAM`. Manual: openat2(2), path_resolution(7).

pub mod copy;
mod remove;
mod walk;

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};

use crate::error::{OrCannot, Result};

pub use remove::remove_tree;
pub use walk::{Entry, names, walk};

/// A folder in which paths are looked up.
#[derive(Debug)]
pub struct Root<D = OwnedFd> {
    folder: D,
    links: Links,
}

/// How symbolic links in a path are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// Followed within the root.
    Inside,
    /// An error, `ELOOP`.
    Refused,
    /// Followed anywhere: the root is the host's own.
    Anywhere,
}

/// Identity of a file: device and inode.
pub type FileId = (u64, u64);

impl<D: AsFd> Root<D> {
    /// The tree below an open folder; links cannot lead out of it.
    pub fn new(folder: D) -> Self {
        Self { folder, links: Links::Inside }
    }

    /// The tree below an open folder; links in paths are errors.
    pub fn without_links(folder: D) -> Self {
        Self { folder, links: Links::Refused }
    }

    /// Opens a path; a leading `/` is this root. Does not create files.
    ///
    /// # Errors
    /// `ELOOP` for a link that is not to be followed; others of openat2(2).
    pub fn open(&self, path: &Path, flags: OFlags) -> nix::Result<OwnedFd> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = match self.links {
            Links::Inside => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            Links::Refused => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
            Links::Anywhere => ResolveFlags::empty(),
        };
        openat2(&self.folder, path, flags, resolve).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }

    /// Opens a folder with O_PATH.
    ///
    /// # Errors
    /// `ENOTDIR` when it is not a folder; those of [`Root::open`].
    pub fn folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The same, and creates the folder and its parents if missing.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is there; `ENOENT` for a dangling link; those of mkdir(2).
    pub fn make_folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.folder(path) {
            Err(Errno::ENOENT) => (),
            outcome => return outcome,
        }
        let above = self.make_folder(path.parent().unwrap_or(Path::new("/")))?;
        // A path that ends in `..` needs no folder of its own.
        if let Some(Component::Normal(name)) = path.components().next_back() {
            make_one_folder(&above, name)?;
        }
        self.folder(path)
    }
}

impl Root {
    /// The host's tree, with links followed anywhere.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn of_host() -> Result<Self> {
        let folder = File::open("/").or_cannot("open", "/")?.into();
        Ok(Self { folder, links: Links::Anywhere })
    }

    /// Whether links are followed anywhere.
    fn is_host(&self) -> bool {
        self.links == Links::Anywhere
    }
}

/// Creates the folder `name` in an open one, unless it exists.
fn make_one_folder(above: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
    }
}

/// openat2(2), repeated on `EAGAIN`, which it returns when a rename or mount on the host interferes with the resolution
/// of `..`.
fn openat2(
    folder: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    loop {
        match rustix::fs::openat2(&folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => (),
            opened => return opened,
        }
    }
}

/// Identity of a file from its metadata.
pub fn file_id(about: &Stat) -> FileId {
    (about.st_dev, about.st_ino)
}

/// Identity of the file at a path of the host, if it exists.
pub fn file_id_at(path: &Path) -> Option<FileId> {
    rustix::fs::stat(path).ok().map(|about| file_id(&about))
}

/// A name with control characters escaped.
pub fn printable(name: &OsStr) -> String {
    name.to_string_lossy().chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The kernel returns EAGAIN for a path with `..` when anything on the host is renamed meanwhile.
    #[test]
    fn a_path_is_found_while_other_files_are_renamed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("usr")).unwrap();
        fs::write(folder.path().join("usr/passwd"), "text").unwrap();
        symlink("usr/../".repeat(200) + "usr/passwd", folder.path().join("link")).unwrap();
        let directory = File::open(folder.path()).unwrap();
        let is_over = AtomicBool::new(false);
        let rename = || {
            let [a, b] = ["a", "b"].map(|name| other.path().join(name));
            fs::write(&a, "").unwrap();
            while !is_over.load(Ordering::Relaxed) {
                fs::rename(&a, &b).and_then(|()| fs::rename(&b, &a)).unwrap();
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(rename);
            let failed = (0..20_000)
                .find_map(|_| Root::new(&directory).open(Path::new("/link"), OFlags::RDONLY).map(drop).err());
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }

    #[test]
    fn no_link_leads_out_and_a_root_without_links_has_none() {
        let folder = tempfile::tempdir().unwrap();
        for (link, to) in [("absolute", "/etc"), ("relative", "../../../../etc"), ("self", "/proc/self/root")] {
            symlink(to, folder.path().join(link)).unwrap();
        }
        let directory = File::open(folder.path()).unwrap();
        let (root, strict) = (Root::new(&directory), Root::without_links(&directory));
        for link in ["absolute", "relative"].map(Path::new) {
            assert_eq!(root.open(&link.join("passwd"), OFlags::PATH).unwrap_err(), Errno::ENOENT);
            assert_eq!(strict.open(link, OFlags::PATH).unwrap_err(), Errno::ELOOP);
            assert_eq!(strict.make_folder(&link.join("x")).unwrap_err(), Errno::ELOOP);
        }
        // The link's target is made below the root, and not on the host.
        root.make_folder(Path::new("/etc/new")).unwrap();
        root.make_folder(Path::new("absolute/new/deeper")).unwrap();
        assert!(folder.path().join("etc/new/deeper").is_dir());
        assert_eq!(root.make_folder(Path::new("self/x")).unwrap_err(), Errno::ENOENT, "a link to nowhere");
    }
}
