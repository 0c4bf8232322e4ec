//! Copies of hand-ins and kits: what is graded of them, and nothing that only stands for something else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::stamp::LEFT_OUT;
use crate::error::{IntoExit, OrCannot, Result};

/// Copies a file, or all below a folder. Links stay links; pipes, sockets and devices are left out, and so is what building makes.
///
/// # Errors
/// `Exit::Usage` with the file and the reason.
pub fn tree(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from).or_cannot("read", from).into_usage()?.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).or_cannot("read", from).into_usage()?;
        symlink(target, to).or_cannot("make the link", to).into_usage()?;
    } else if kind.is_file() {
        fs::copy(from, to).or_cannot("copy", from).into_usage()?;
    } else if kind.is_dir() {
        fs::create_dir(to).or_cannot("make the folder", to).into_usage()?;
        for entry in fs::read_dir(from).or_cannot("read", from).into_usage()? {
            let name = entry.or_cannot("read", from).into_usage()?.file_name();
            if !LEFT_OUT.iter().any(|out| name == *out) {
                tree(&from.join(&name), &to.join(&name))?;
            }
        }
    }
    Ok(())
}
