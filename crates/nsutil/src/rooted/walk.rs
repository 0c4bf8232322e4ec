//! Walks a file tree by descriptor: a name that is replaced by a link meanwhile is not followed.

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
    /// Its path in error messages.
    pub(super) shown: String,
}

impl<'a> Entry<'a> {
    /// The name `name` in `folder`; error messages show it as `shown`.
    pub fn new(folder: BorrowedFd<'a>, name: &'a OsStr, shown: String) -> Self {
        Self { folder, name, shown }
    }

    /// Its path in error messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Its metadata; a link is not followed.
    ///
    /// # Errors
    /// `ENOENT` when it no longer exists.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW).or_cannot("look at", &self.shown)
    }

    /// Opens it if it is still of that type.
    ///
    /// # Errors
    /// In words when it is not; those of open(2).
    pub fn open(&self, kind: FileType) -> Result<(OwnedFd, Stat)> {
        // NONBLOCK: if it has become a named pipe, do not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.folder, self.name, flags, Mode::empty()).or_cannot("read", &self.shown)?;
        let about = rustix::fs::fstat(&opened).or_cannot("look at", &self.shown)?;
        if FileType::from_raw_mode(about.st_mode) != kind {
            return Err(Error::new("copy", &self.shown, "its file type changed during the copy"));
        }
        Ok((opened, about))
    }

    /// The target of a link.
    ///
    /// # Errors
    /// `EINVAL` when it is not a link.
    pub fn target(&self) -> Result<OsString> {
        let target = rustix::fs::readlinkat(self.folder, self.name, Vec::new()).or_cannot("read", &self.shown)?;
        Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
    }
}

/// Calls `visit` for the folder `entry`, with an empty path, and for everything below it, sorted; it descends into
/// folders for which `visit` returns true. Paths may be of any length.
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

/// The names in a folder, sorted.
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
