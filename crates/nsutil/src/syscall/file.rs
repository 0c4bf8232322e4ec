//! Files of the kernel's own, such as those of a cgroup: what is written is a command, what is read an answer.

use std::fs;
use std::path::Path;

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
    let file = fs::OpenOptions::new().write(true).truncate(true).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|reason| Error::new(format_args!("write(\"{shown}\", \"{text}\")"), "", reason))
}
