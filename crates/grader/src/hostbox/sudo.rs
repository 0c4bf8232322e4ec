//! The box's `sudo`, by which scripts for the lab become root: a machine may have none, and the real one would run the command
//! on a terminal of its own, as a child of a child.

use std::path::PathBuf;

use super::{Planted, PlantedWhat};

/// The program, at its place in the system.
pub fn sudo() -> Planted {
    let bytes = include_bytes!("sudo.sh").to_vec();
    Planted { path: PathBuf::from("/usr/bin/sudo"), what: PlantedWhat::File { bytes, mode: 0o755 } }
}
