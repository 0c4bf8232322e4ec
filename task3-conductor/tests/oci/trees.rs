//! A file tree as text: all that a copy of it must have.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Each path with kind, mode, owner, time, content, attributes, and the first of its names.
pub fn listing(root: &Path) -> Vec<String> {
    let (mut lines, mut first) = (Vec::new(), BTreeMap::new());
    list(root, root, &mut first, &mut lines);
    lines
}

fn list(root: &Path, path: &Path, first: &mut BTreeMap<u64, PathBuf>, lines: &mut Vec<String>) {
    let about = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(root).unwrap().to_path_buf();
    let kind = about.file_type();
    let what = if kind.is_dir() {
        "folder".to_owned()
    } else if kind.is_symlink() {
        format!("-> {}", fs::read_link(path).unwrap().display())
    } else if kind.is_file() {
        let content = fs::read(path).unwrap();
        let first = first.entry(about.ino()).or_insert_with(|| name.clone());
        let sum = content.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        format!("file {} {sum:x} first {}", content.len(), first.display())
    } else if kind.is_fifo() {
        "pipe".to_owned()
    } else {
        format!("device {:x}", about.rdev())
    };
    let attributes = if kind.is_symlink() { String::new() } else { attributes(path) };
    lines.push(format!(
        "{} {:o} {}:{} {}.{:09} {what} {attributes}",
        name.display(),
        about.mode() & 0o7777,
        about.uid(),
        about.gid(),
        about.mtime(),
        about.mtime_nsec()
    ));
    if kind.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            list(root, &entry, first, lines);
        }
    }
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut names[..]).unwrap_or(0);
    let mut all: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| !name.is_empty() && !name.starts_with("trusted.overlay."))
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::getxattr(path, name.as_str(), &mut value[..]).unwrap();
            format!("{name}={:?}", &value[..length])
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// What a container of these layers would see, the topmost first.
pub fn merged(layers: &[PathBuf]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let all: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
    let options = format!("lowerdir={}:{}", all.join(":"), empty.path().display());
    mount(Some("overlay"), place.path(), Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str())).unwrap();
    let lines = listing(place.path());
    umount2(place.path(), MntFlags::MNT_DETACH).unwrap();
    lines
}
