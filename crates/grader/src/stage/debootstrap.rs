//! The box's `debootstrap`: what a tool's `build` calls, where no package can be fetched.
//!
//! It takes the arguments of debootstrap(8) and fills the folder with a small root made of this host's own programs: a
//! shell, the everyday commands, and their libraries, each at its place. It stands where the package would put it, and
//! takes the place of the real one, so that a build needs neither the network nor minutes. A tool that looks for a suite's
//! script or a distribution's keyring before it calls debootstrap finds those as well.

use std::path::PathBuf;

use crate::hostbox::{Planted, PlantedWhat};

const SCRIPT: &str = include_str!("debootstrap.sh");
const SUITES: [&str; 7] = ["bookworm", "trixie", "bullseye", "sid", "stable", "jammy", "focal"];
const KEYRINGS: [&str; 2] = ["debian-archive-keyring.gpg", "ubuntu-archive-keyring.gpg"];

/// The files of the package, by absolute path.
pub fn package() -> Vec<Planted> {
    let mut files = vec![file("/usr/sbin/debootstrap", SCRIPT, 0o755)];
    files.extend(SUITES.map(|suite| file(&format!("/usr/share/debootstrap/scripts/{suite}"), "", 0o644)));
    files.extend(KEYRINGS.map(|keyring| file(&format!("/usr/share/keyrings/{keyring}"), "", 0o644)));
    files
}

/// A file of the box's own system.
pub fn file(path: &str, text: &str, mode: u32) -> Planted {
    Planted { path: PathBuf::from(path), what: PlantedWhat::File { bytes: text.as_bytes().to_vec(), mode } }
}
