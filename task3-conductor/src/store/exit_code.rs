//! The exit code of a container's first process, as its monitor leaves it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nsutil::error::{OrCannot, Result};
use rustix::fs::FlockOperation;

/// The file in a container's folder that holds the exit code of its first process. A reader that has the file open still
/// gets the exit code after the container was removed, and never that of a later container with the same name.
#[derive(Debug)]
pub struct ExitCodeFile(File);

impl ExitCodeFile {
    /// Creates an empty file for a new container; locked until it is written or its writer dies.
    ///
    /// # Errors
    /// `ENOSPC` … with the path.
    pub fn prepare(container_dir: &Path) -> Result<Self> {
        let path = container_dir.join(EXIT);
        let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let note = made.or_cannot("make", path.display())?;
        rustix::fs::flock(&note, FlockOperation::NonBlockingLockExclusive).or_cannot("lock", path.display())?;
        Ok(Self(note))
    }

    /// Opens that of a container, if it exists.
    pub fn open(container_dir: &Path) -> Option<Self> {
        let path = container_dir.join(EXIT);
        File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path).ok().map(Self)
    }

    /// Writes the exit code.
    ///
    /// # Errors
    /// `ENOSPC` ….
    pub fn write(&self, code: i32) -> Result<()> {
        (&self.0).write_all(format!("{code}\n").as_bytes()).or_cannot("write down", "the exit code")?;
        rustix::fs::flock(&self.0, FlockOperation::Unlock).or_cannot("let go of", "the exit code")
    }

    /// Reads it after its writer has written it or died, which is soon after the first process has exited.
    pub fn read_when_settled(&self) -> Option<i32> {
        // If locking is not supported, read the present content.
        let _ = rustix::fs::flock(&self.0, FlockOperation::LockShared);
        self.read()
    }

    /// Reads it, if it has been written.
    pub fn read(&self) -> Option<i32> {
        let mut text = [0; 16];
        let length = self.0.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(text.get(..length)?).ok()?.strip_suffix('\n')?.parse().ok()
    }

    /// Whether the container that it belongs to has been removed.
    pub fn is_unlinked(&self) -> bool {
        self.0.metadata().is_ok_and(|about| about.nlink() == 0)
    }
}

/// Name of the file that holds the first process's exit code.
const EXIT: &str = "exit";
