//! Files of the kernel's own, such as those of a cgroup: what is written is a command, what is read an answer.

use std::fs;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, OrCannot, Result};
use crate::step;

/// Reads a file as text. See open(2), read(2).
///
/// # Errors
/// `ENOENT` when it is not there; `EACCES` when it may not be read.
pub fn read_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).or_cannot("read", path.display())
}

/// Writes a text into a file that is there, in one piece. It is never made: a missing file of the kernel's is an error. See
/// open(2), write(2).
///
/// # Errors
/// `ENOENT` when it is not there; `EACCES` when it may not be written; whatever the kernel thinks of the text, often
/// `EINVAL`.
pub fn write_file(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    let shown = path.display();
    step!("write", call: "write(\"{shown}\", \"{text}\")";
        why: "a file of the kernel's own takes a setting as text, and refuses what it does not understand";
        shell: "echo {text} > {shown}");
    write_existing(path, text).map_err(|errno| Error::new(format_args!("write(\"{shown}\", \"{text}\")"), "", errno))
}

/// The same without a word, for callers that announce what they do and name it in their errors.
///
/// `ENOENT` when it is not there; `EINVAL` for a value that the kernel does not take.
pub(crate) fn write_existing(path: &Path, text: &str) -> nix::Result<()> {
    // std::fs::write would add O_CREAT, and a missing controller would become EACCES.
    let file = fs::File::options().write(true).truncate(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}
