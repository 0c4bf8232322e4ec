//! Locks of folders, and leftovers of killed commands.
//!
//! A command that creates or changes a folder holds a lock on it (flock(2)); the kernel releases the lock when the
//! command dies. So an unfinished and unlocked folder is a leftover. Between opening and locking a folder, another
//! command may have replaced it: a lock counts only if the path still refers to the locked folder.
//!
//! Look: `cat /proc/locks`. Manual: flock(2).

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use rustix::fs::FlockOperation;

/// A lock on a folder or file; released when dropped, also by the kernel when its holder is killed.
#[derive(Debug)]
pub struct Lock {
    /// Closing unlocks, once every copy is closed. A process that was forked while the lock is held has a copy too, so no
    /// process may unlock explicitly.
    held: File,
}

impl Lock {
    /// Waits for the lock of a file.
    ///
    /// # Errors
    /// `ENOLCK` … by flock(2).
    pub fn file(file: File, path: &Path) -> Result<Self> {
        Self::new(file, FlockOperation::LockExclusive).or_cannot("lock", path.display())
    }

    /// Waits for a lock that several may hold together.
    ///
    /// # Errors
    /// `ENOLCK` … by flock(2).
    pub fn shared(file: File, path: &Path) -> Result<Self> {
        Self::new(file, FlockOperation::LockShared).or_cannot("lock", path.display())
    }

    /// Tries to lock a file.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when another holds it.
    pub fn try_exclusive(file: File) -> nix::Result<Self> {
        Self::new(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Waits for the lock of a folder; none if it does not exist or is removed meanwhile.
    ///
    /// # Errors
    /// Those of open(2) and flock(2).
    pub fn folder(path: &Path) -> Result<Option<Self>> {
        loop {
            let folder = match open_folder(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                opened => opened.or_cannot("open", path.display())?,
            };
            let lock = Self::file(folder, path)?;
            if lock.is_still_at(path) {
                return Ok(Some(lock));
            }
        }
    }

    /// Creates a folder with mode 0700 unless it exists, and waits for its lock.
    ///
    /// # Errors
    /// Those of mkdir(2), open(2) and flock(2).
    pub fn new_folder(path: &Path) -> Result<Self> {
        loop {
            make_folder(path)?;
            // Another command may remove the unlocked folder as a leftover: then repeat.
            if let Some(lock) = Self::folder(path)? {
                return Ok(lock);
            }
        }
    }

    /// The unlocked folders in `parent` for which `is_leftover` holds, each with its lock.
    ///
    /// # Errors
    /// When `parent` cannot be read.
    pub fn leftovers(parent: &Path, is_leftover: impl Fn(&OsStr) -> bool) -> Result<Vec<(PathBuf, Self)>> {
        let entries = fs::read_dir(parent).or_cannot("list", parent.display())?;
        let leftover = |entry: fs::DirEntry| {
            let path = entry.path();
            let lock = Self::try_exclusive(open_folder(&path).ok()?).ok()?;
            // It may have been finished, or removed, before it was locked.
            (lock.is_still_at(&path) && is_leftover(&entry.file_name())).then_some((path, lock))
        };
        Ok(entries.flatten().filter(|entry| is_leftover(&entry.file_name())).filter_map(leftover).collect())
    }

    /// Unlocks even if children that were forked meanwhile have a copy of the descriptor: closing ours would not. See
    /// flock(2).
    ///
    /// # Errors
    /// `EINTR`, `ENOLCK` by flock(2).
    pub fn release(self) -> Result<()> {
        rustix::fs::flock(&self.held, FlockOperation::Unlock).or_cannot("let go of", "a lock")
    }

    /// Whether the path still refers to what is locked.
    pub fn is_still_at(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let held = self.held.metadata().map(identity).ok();
        held.is_some() && held == fs::symlink_metadata(path).map(identity).ok()
    }

    fn new(file: File, how: FlockOperation) -> nix::Result<Self> {
        let locked = rustix::fs::flock(&file, how).map_err(|errno| Errno::from_raw(errno.raw_os_error()));
        locked.map(|()| Self { held: file })
    }
}

/// Creates a folder with mode 0700 unless it exists.
///
/// # Errors
/// Those of mkdir(2).
pub fn make_folder(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::new("make folder", folder.display(), error))
        }
        _ => Ok(()),
    }
}

fn open_folder(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlocked_folder_is_a_leftover_and_a_locked_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let held = Lock::new_folder(&parent.path().join(".held")).unwrap();
        drop(Lock::new_folder(&parent.path().join(".left")).unwrap());
        drop(Lock::new_folder(&parent.path().join("finished")).unwrap());
        let unfinished = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let found = |parent: &Path| {
            Lock::leftovers(parent, unfinished).unwrap().into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(found(parent.path()), [parent.path().join(".left")]);
        drop(held);
        assert_eq!(found(parent.path()).len(), 2);
    }

    #[test]
    fn the_lock_of_a_folder_that_was_replaced_is_not_one_of_the_new_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("folder");
        let lock = Lock::new_folder(&path).unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(Lock::folder(&path).unwrap().is_none());
        fs::create_dir(&path).unwrap();
        assert!(!lock.is_still_at(&path));
        assert!(Lock::folder(&path).unwrap().unwrap().is_still_at(&path));
    }
}
