//! Control files of the kernel, such as those of a cgroup: a write is a command, a read returns the state.

use std::fs;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, OrCannot, Result};
use crate::step;

/// Reads a file as text. See open(2), read(2).
///
/// # Errors
/// `ENOENT` when it does not exist; `EACCES` when it may not be read.
pub fn read_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).or_cannot("read", path.display())
}

/// Writes a text to an existing file in one write(2). It never creates the file: a missing control file is an error.
/// See open(2), write(2).
///
/// # Errors
/// `ENOENT` when it does not exist; `EACCES` when it may not be written; other errors for an invalid value, often
/// `EINVAL`.
pub fn write_file(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    let shown = path.display();
    step!("write", call: "write(\"{shown}\", \"{text}\")";
        why: "a control file of the kernel takes a setting as text and rejects invalid values";
        shell: "echo {text} > {shown}");
    write_existing(path, text).map_err(|errno| Error::new(format_args!("write(\"{shown}\", \"{text}\")"), "", errno))
}

/// The same without an announcement, for callers that make their own.
///
/// `ENOENT` when it does not exist; `EINVAL` for an invalid value.
pub(crate) fn write_existing(path: &Path, text: &str) -> nix::Result<()> {
    // std::fs::write would add O_CREAT, and a missing controller would become EACCES.
    let file = fs::File::options().write(true).truncate(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}
