//! The folder of results: one command at a time writes there, and each file is there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, IntoExit, OrCannot, Result};

/// The file by which a folder of results is known, and which is locked.
const MARK: &str = ".grade-class";

/// `--out DIR`, locked.
#[derive(Debug)]
pub struct Folder {
    /// Its absolute path.
    pub path: PathBuf,
    /// Holds the lock, see flock(2), until the program ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and locks it.
    ///
    /// # Errors
    /// `Exit::Usage` when it cannot be made or written, or when another `grade class` works in it.
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).or_cannot("make the folder", path).into_usage()?;
        let path = fs::canonicalize(path).or_cannot("open", path).into_usage()?;
        let lock = path.join(MARK);
        // Files of a foreign folder would be overwritten, or taken for results.
        let is_ours = lock.exists() || fs::read_dir(&path).or_cannot("read", &path).into_usage()?.next().is_none();
        if !is_ours {
            let what = format!("{} is neither empty nor made by grade class", path.display());
            return Err(Error::usage(format!("{what}; give a new folder as --out")));
        }
        let file = File::options().append(true).create(true).open(&lock).or_cannot("write", &lock).into_usage()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Error::usage(format!("another grade class is at work in {}", path.display())))
            }
            Err(errno) => Err(errno).or_cannot("lock", &lock).into_usage(),
        }
    }

    /// Writes a file below the folder. It is renamed when it is whole.
    ///
    /// # Errors
    /// `Exit::Usage` with the file and the errno.
    pub fn write(&self, file: &Path, content: &str) -> Result<()> {
        let path = self.path.join(file);
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).or_cannot("make the folder", parent).into_usage()?;
        let whole = tempfile::NamedTempFile::new_in(parent)
            .and_then(|mut new| io::Write::write_all(&mut new, content.as_bytes()).map(|()| new))
            .and_then(|new| new.persist(&path).map_err(|failed| failed.error));
        let file = whole.or_cannot("write", &path).into_usage()?;
        // Instructors read it, and feedback is copied to where students do; a temporary file is for its owner alone.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.set_permissions(mode).or_cannot("write", &path).into_usage()
    }
}
