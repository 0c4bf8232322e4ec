//! A folder as the root of paths: each path is looked up as a process would whose `/` that folder is.
//!
//! What stands in a container's folder is the container's to change, at any moment. A symbolic link `lib -> /etc` must
//! not lead a copy into the *host's* /etc, and a folder becomes a link just after it was looked at (CVE-2018-15664). So
//! no joined path is ever opened here. openat2(2) looks a path up from a descriptor of the root: with `RESOLVE_IN_ROOT`
//! links and `..` lead about and never out. From there on each name is opened in the descriptor of its folder with
//! `O_NOFOLLOW`, and what was opened is what is looked at, copied or removed.
//!
//! | file | |
//! |---|---|
//! | this one | looking a path up; making the folders of a path |
//! | `walk` | all that is in a folder |
//! | [`copy`] | a tree copied from one root into another |
//! | `remove` | a tree removed, however deep it is |
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

/// A folder that paths are looked up in.
#[derive(Debug)]
pub struct Root<D = OwnedFd> {
    folder: D,
    links: Links,
}

/// What becomes of a symbolic link on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// It is followed, within the root.
    Inside,
    /// It is an error, `ELOOP`.
    Refused,
    /// It is followed wherever it leads: the root is the host's own.
    Anywhere,
}

/// By which the kernel tells files apart: device and inode.
pub type FileId = (u64, u64);

impl<D: AsFd> Root<D> {
    /// The tree below an open folder, out of which no link leads.
    pub fn new(folder: D) -> Self {
        Self { folder, links: Links::Inside }
    }

    /// The tree below an open folder, on whose paths no link may stand.
    pub fn without_links(folder: D) -> Self {
        Self { folder, links: Links::Refused }
    }

    /// Opens a path; one that begins with `/` begins in this root. No file is made.
    ///
    /// # Errors
    /// `ELOOP` when a link stands on the way that is not to be followed; others of openat2(2).
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

    /// Opens a folder to name things in it; nothing can be read by the descriptor.
    ///
    /// # Errors
    /// `ENOTDIR` when it is something else; those of [`Root::open`].
    pub fn folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The same, and makes the folder, and those above it, if they are missing.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is there; `ENOENT` when a link to nowhere is; those of mkdir(2).
    pub fn make_folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.folder(path) {
            Err(Errno::ENOENT) => (),
            outcome => return outcome,
        }
        let above = self.make_folder(path.parent().unwrap_or(Path::new("/")))?;
        // A path that ends in `..` has no name of its own: with the folder above made, it is there.
        if let Some(Component::Normal(name)) = path.components().next_back() {
            make_one_folder(&above, name)?;
        }
        self.folder(path)
    }
}

impl Root {
    /// The host's own tree, whose links lead where they say.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn of_host() -> Result<Self> {
        let folder = File::open("/").or_cannot("open", "/")?.into();
        Ok(Self { folder, links: Links::Anywhere })
    }

    /// Whether its links lead where they say, and not within it.
    fn is_host(&self) -> bool {
        self.links == Links::Anywhere
    }
}

/// Makes the folder `name` in an open one, if there is nothing of that name.
fn make_one_folder(above: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
    }
}

/// openat2(2). It asks to try again (`EAGAIN`) when something on the host was renamed or mounted while the kernel was on
/// a way with `..` in it.
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

/// Which file it is.
pub fn file_id(about: &Stat) -> FileId {
    (about.st_dev, about.st_ino)
}

/// Which file is at a path of the host's, if there is one.
pub fn file_id_at(path: &Path) -> Option<FileId> {
    rustix::fs::stat(path).ok().map(|about| file_id(&about))
}

/// A name as it can be told: control characters are escaped.
pub fn printable(name: &OsStr) -> String {
    name.to_string_lossy().chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The kernel gives up a way with `..` in it whenever anything on the host is renamed meanwhile.
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
