//! The box's `sudo`, by which scripts for the lab become root: a machine may have none, and the real one would run the command
//! on a terminal of its own, as a child of a child.

use std::path::PathBuf;

use super::{FileKind, SandboxFile};

/// The program, at its place in the system.
pub fn sudo() -> SandboxFile {
    let bytes = include_bytes!("sudo.sh").to_vec();
    SandboxFile { path: PathBuf::from("/usr/bin/sudo"), what: FileKind::File { bytes, mode: 0o755 } }
}
