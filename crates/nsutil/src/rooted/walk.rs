//! All that is in a folder, by descriptor: a name that becomes a link meanwhile leads nowhere.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use super::printable;
use crate::error::{Error, OrCannot, Result};

/// A name in an open folder.
#[derive(Debug)]
pub struct Entry<'a> {
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    /// As errors call it.
    pub(super) shown: String,
}

impl<'a> Entry<'a> {
    /// The name `name` in `folder`; errors call it `shown`.
    pub fn new(folder: BorrowedFd<'a>, name: &'a OsStr, shown: String) -> Self {
        Self { folder, name, shown }
    }

    /// As errors call it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What is there; a link itself and not what it leads to.
    ///
    /// # Errors
    /// `ENOENT` when it has gone.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW).or_cannot("look at", &self.shown)
    }

    /// Opens it, if it still is of that kind.
    ///
    /// # Errors
    /// In words when it is not; those of open(2).
    pub fn open(&self, kind: FileType) -> Result<(OwnedFd, Stat)> {
        // NONBLOCK: should it have become a named pipe by now, nobody has to come to its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.folder, self.name, flags, Mode::empty()).or_cannot("read", &self.shown)?;
        let about = rustix::fs::fstat(&opened).or_cannot("look at", &self.shown)?;
        if FileType::from_raw_mode(about.st_mode) != kind {
            return Err(Error::new("copy", &self.shown, "it was another kind of file a moment ago"));
        }
        Ok((opened, about))
    }

    /// Where it leads, if it is a link.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    pub fn target(&self) -> Result<OsString> {
        let target = rustix::fs::readlinkat(self.folder, self.name, Vec::new()).or_cannot("read", &self.shown)?;
        Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
    }
}

/// Shows `visit` all that is in the folder `entry`, in order, and before that the folder itself, whose path is empty; a folder
/// is gone into if `visit` says so. Paths may be of any length.
///
/// # Errors
/// Those of `visit`; those of getdents64(2) and stat(2), with the path.
pub fn walk(entry: &Entry<'_>, visit: &mut impl FnMut(&Entry<'_>, &Stat, &Path) -> Result<bool>) -> Result<()> {
    walk_below(entry, &mut PathBuf::new(), visit)
}

fn walk_below(
    entry: &Entry<'_>,
    path: &mut PathBuf,
    visit: &mut impl FnMut(&Entry<'_>, &Stat, &Path) -> Result<bool>,
) -> Result<()> {
    let about = entry.stat()?;
    if !visit(entry, &about, path)? || FileType::from_raw_mode(about.st_mode) != FileType::Directory {
        return Ok(());
    }
    let (folder, _) = entry.open(FileType::Directory)?;
    for name in names(folder.as_fd(), &entry.shown)? {
        let below = Entry::new(folder.as_fd(), &name, format!("{}/{}", entry.shown, printable(&name)));
        path.push(&name);
        walk_below(&below, path, visit)?;
        path.pop();
    }
    Ok(())
}

/// What is in a folder, in order.
///
/// # Errors
/// Those of getdents64(2).
pub fn names(folder: BorrowedFd<'_>, shown: &str) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).or_cannot("list", shown)? {
        let entry = entry.or_cannot("list", shown)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}
