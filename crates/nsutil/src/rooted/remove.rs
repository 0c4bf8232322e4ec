//! Removes a file tree that a container has written.
//!
//! The tree can be deeper than the limits for paths, the stack or descriptors. So the recursion is limited: deeper
//! folders are moved up to the top, where they are emptied next. Usual trees need no move, and so no space on a full
//! disk. Mounts in the tree might be the user's own: they are never entered.
//!
//! Manual: unlink(2), rename(2), openat2(2) `RESOLVE_NO_XDEV`.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, OrCannot, Result};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::printable;

/// Removes a file tree; does nothing if it does not exist. Links are removed, not followed.
///
/// # Errors
/// `EPERM` where a file is immutable, `EXDEV` or `EBUSY` where something is mounted, `EROFS` …, with the entry's name.
pub fn remove_tree(tree: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (tree.parent(), tree.file_name()) else {
        return Err(Error::new("remove", tree.display(), Errno::BUSY));
    };
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let folder = match openat(CWD, folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.or_cannot("open", folder.display())?,
    };
    let name = CString::new(name.as_encoded_bytes()).or_cannot("remove", tree.display())?;
    let removed = match enter(&folder, &name) {
        Ok(top) => empty(&top).and_then(|()| remove(&folder, &name, AtFlags::REMOVEDIR)),
        Err(Errno::NOENT) => Ok(()),
        // A file, or a link.
        Err(Errno::NOTDIR | Errno::LOOP) => remove(&folder, &name, AtFlags::empty()),
        Err(errno) => Err(RemoveError { entry: name, errno }),
    };
    removed.map_err(|RemoveError { entry, errno }| {
        let entry = printable(OsStr::from_bytes(entry.to_bytes()));
        let error = Error::new("remove", format_args!("{entry} in {}", tree.display()), errno);
        match errno {
            Errno::PERM => error.hint("it may be immutable: see lsattr, and chattr -i"),
            Errno::XDEV | Errno::BUSY => error.hint("something may be mounted there: see findmnt"),
            _ => error,
        }
    })
}

/// An entry that could not be removed, and the reason.
struct RemoveError {
    entry: CString,
    errno: Errno,
}

/// Maximum depth of the recursion; deeper folders are moved up.
const MAX_DEPTH: usize = 32;

/// The folder to which deep folders are moved, and their number.
struct Top<'a> {
    folder: &'a OwnedFd,
    moved: u64,
}

fn empty(folder: &OwnedFd) -> Result<(), RemoveError> {
    let mut top = Top { folder, moved: 0 };
    // Folders moved up while the directory is read may or may not be listed: repeat.
    loop {
        let before = top.moved;
        empty_below(folder, 1, &mut top)?;
        if top.moved == before {
            return Ok(());
        }
    }
}

fn empty_below(folder: &OwnedFd, depth: usize, top: &mut Top<'_>) -> Result<(), RemoveError> {
    each_entry(folder, |name, kind| {
        if !kind.is_dir() {
            return remove(folder, name, AtFlags::empty());
        }
        if depth == MAX_DEPTH {
            return match unlinkat(folder, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => top.move_up(folder, name),
                removed => removed.map_err(|errno| RemoveError { entry: name.to_owned(), errno }),
            };
        }
        let below = match enter(folder, name) {
            // Listed twice.
            Err(Errno::NOENT) => return Ok(()),
            entered => entered.map_err(|errno| RemoveError { entry: name.to_owned(), errno })?,
        };
        empty_below(&below, depth + 1, top)?;
        remove(folder, name, AtFlags::REMOVEDIR)
    })
}

/// Calls `act` for each entry except `.` and `..`.
fn each_entry(
    folder: &OwnedFd,
    mut act: impl FnMut(&CStr, FileType) -> Result<(), RemoveError>,
) -> Result<(), RemoveError> {
    let unreadable = |errno| RemoveError { entry: c"the contents".to_owned(), errno };
    for entry in Dir::read_from(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(about) => FileType::from_raw_mode(about.st_mode),
                Err(errno) => return Err(RemoveError { entry: name.to_owned(), errno }),
            },
            kind => kind,
        };
        act(name, kind)?;
    }
    Ok(())
}

/// Opens a folder, unless something is mounted on it.
fn enter(folder: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    super::openat2(folder, name, flags, ResolveFlags::NO_XDEV)
}

fn remove(folder: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<(), RemoveError> {
    match unlinkat(folder, name, flags) {
        Err(errno) if errno != Errno::NOENT => Err(RemoveError { entry: name.to_owned(), errno }),
        _ => Ok(()),
    }
}

impl Top<'_> {
    fn move_up(&mut self, from: &OwnedFd, name: &CStr) -> Result<(), RemoveError> {
        loop {
            let new = format!(".{}", self.moved);
            self.moved += 1;
            match renameat_with(from, name, self.folder, new, RenameFlags::NOREPLACE) {
                // The container has a file of that name.
                Err(Errno::EXIST) => (),
                renamed => return renamed.map_err(|errno| RemoveError { entry: name.to_owned(), errno }),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{mkdirat, openat};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_or_a_path_is_long_goes() {
        let top = tempfile::tempdir().unwrap();
        let tree = top.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut folder: OwnedFd = fs::File::open(&tree).unwrap().into();
        let of_folder = OFlags::DIRECTORY | OFlags::CLOEXEC;
        for _ in 0..5000 {
            mkdirat(&folder, c"a", Mode::RWXU).unwrap();
            mkdirat(&folder, c".1", Mode::RWXU).unwrap();
            drop(openat(&folder, c"file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).unwrap());
            folder = openat(&folder, c"a", of_folder, Mode::empty()).unwrap();
        }
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..before }).unwrap();
        let removed = remove_tree(&tree);
        setrlimit(Resource::Nofile, before).unwrap();
        removed.unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_link_goes_and_what_it_leads_to_stays() {
        let top = tempfile::tempdir().unwrap();
        let (tree, other) = (top.path().join("tree"), top.path().join("other"));
        fs::create_dir_all(tree.join("deep/deeper")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "text").unwrap();
        for link in ["link", "deep/link", "deep/deeper/link"] {
            symlink(&other, tree.join(link)).unwrap();
        }
        remove_tree(&tree).unwrap();
        symlink(&other, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(fs::symlink_metadata(&tree).is_err());
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "text");
    }
}
