//! Removing a file tree that somebody else has written: a container's files, a layer's.
//!
//! How deep it is, they decide, and neither a path nor a stack nor the descriptors suffice for a tree that is deep enough.
//! So nobody walks down: a folder in a folder is first moved up to the top, where it is the next to be emptied. Two folders
//! are open at a time, whatever the tree is like. What is mounted in it might be the user's own, so no step leads into it.
//!
//! Manual: unlink(2), rename(2), openat2(2) `RESOLVE_NO_XDEV`.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use nsutil::error::{Error, OrCannot, Result};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, openat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;

/// Removes a file tree; one that is not there is fine. Links in it are removed, never followed.
///
/// # Errors
/// `EPERM` where a file is immutable, `EXDEV` or `EBUSY` where something is mounted, `EROFS` …, with the entry's name.
pub fn unlink_tree(tree: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (tree.parent(), tree.file_name()) else {
        return Err(Error::new("remove", tree.display(), Errno::BUSY));
    };
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let folder = match openat(CWD, folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.or_cannot("open", folder.display())?,
    };
    let name = CString::new(name.as_encoded_bytes()).or_cannot("remove", tree.display())?;
    let cannot = |Stuck { entry, errno }: Stuck| {
        let error = Error::new("remove", format_args!("{} in {}", entry.to_string_lossy(), tree.display()), errno);
        match errno {
            Errno::PERM => error.hint("it may be immutable: lsattr tells, chattr -i takes that away"),
            Errno::XDEV | Errno::BUSY => error.hint("something may be mounted there: findmnt tells"),
            _ => error,
        }
    };
    match enter(&folder, &name) {
        Err(Errno::NOENT) => return Ok(()),
        // A file, or a link.
        Err(Errno::NOTDIR | Errno::LOOP) => (),
        Err(errno) => return Err(cannot(Stuck { entry: name, errno })),
        Ok(top) => {
            empty(&top).map_err(cannot)?;
            return remove(&folder, &name, AtFlags::REMOVEDIR).map_err(cannot);
        }
    }
    remove(&folder, &name, AtFlags::empty()).map_err(cannot)
}

/// An entry that could not be removed, and why.
struct Stuck {
    entry: CString,
    errno: Errno,
}

fn empty(top: &OwnedFd) -> Result<(), Stuck> {
    let mut moved = 0_u64;
    // What is moved up while the folder is read may be told or not.
    loop {
        let mut is_empty = true;
        each_entry(top, |name, kind| {
            is_empty = false;
            if !kind.is_dir() {
                return remove(top, name, AtFlags::empty());
            }
            let folder = match enter(top, name) {
                // Told twice.
                Err(Errno::NOENT) => return Ok(()),
                entered => entered.map_err(|errno| Stuck { entry: name.to_owned(), errno })?,
            };
            each_entry(&folder, |name, kind| {
                if !kind.is_dir() {
                    return remove(&folder, name, AtFlags::empty());
                }
                match unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => move_up(&folder, name, top, &mut moved),
                    removed => removed.map_err(|errno| Stuck { entry: name.to_owned(), errno }),
                }
            })?;
            remove(top, name, AtFlags::REMOVEDIR)
        })?;
        if is_empty {
            return Ok(());
        }
    }
}

/// Calls `act` for each entry of a folder but itself and the one above.
fn each_entry(folder: &OwnedFd, mut act: impl FnMut(&CStr, FileType) -> Result<(), Stuck>) -> Result<(), Stuck> {
    let unreadable = |errno| Stuck { entry: c"what is".to_owned(), errno };
    for entry in Dir::read_from(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(about) => FileType::from_raw_mode(about.st_mode),
                Err(errno) => return Err(Stuck { entry: name.to_owned(), errno }),
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
    loop {
        match openat2(folder, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
            // Something else was renamed or mounted meanwhile: openat2(2) asks to try again.
            Err(Errno::AGAIN) => (),
            opened => return opened,
        }
    }
}

fn remove(folder: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<(), Stuck> {
    match unlinkat(folder, name, flags) {
        Err(errno) if errno != Errno::NOENT => Err(Stuck { entry: name.to_owned(), errno }),
        _ => Ok(()),
    }
}

fn move_up(folder: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> Result<(), Stuck> {
    loop {
        let new = format!(".{moved}");
        *moved += 1;
        match renameat_with(folder, name, top, new, RenameFlags::NOREPLACE) {
            // Somebody has called his own so.
            Err(Errno::EXIST) => (),
            renamed => return renamed.map_err(|errno| Stuck { entry: name.to_owned(), errno }),
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
        let removed = unlink_tree(&tree);
        setrlimit(Resource::Nofile, before).unwrap();
        removed.unwrap();
        assert!(!tree.exists());
        unlink_tree(&tree).unwrap();
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
        unlink_tree(&tree).unwrap();
        symlink(&other, &tree).unwrap();
        unlink_tree(&tree).unwrap();
        assert!(fs::symlink_metadata(&tree).is_err());
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "text");
    }
}
