//! A directory of the box as a root: no path or link leads out. The grader's own on purpose: it must not trust nsutil.
//!
//! From outside, `/proc/PID/root/a/b` follows an absolute link in `a` on the machine, not in the box: a program could let the
//! grader list, or copy, a folder of its own machine. openat2(2) with `RESOLVE_IN_ROOT` takes links as a process
//! with that root directory would, and follows no magic link of procfs at all.
//! Manual: openat2(2), "RESOLVE_IN_ROOT".

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat};

use crate::record::FileId;

/// A folder: its flags, whatever is found there.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// The root directory of a process of the box, held open.
#[derive(Debug)]
pub struct Rooted(OwnedFd);

impl Rooted {
    /// That of `pid`, as we number it.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn of(pid: i32) -> rustix::io::Result<Rooted> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).map(Rooted)
    }

    /// Opens `path`. Never waits for a writer of a pipe.
    ///
    /// # Errors
    /// Those of openat2(2): `ELOOP` for a magic link.
    pub fn open(&self, path: impl rustix::path::Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        // With O_PATH, no other flag of these is allowed.
        let always = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        openat2(&self.0, path, flags | always | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)
    }

    /// Which file `path` leads to.
    pub fn id(&self, path: &str) -> Option<FileId> {
        let stat = fstat(self.open(path, OFlags::PATH).ok()?).ok()?;
        Some(FileId { dev: stat.st_dev, ino: stat.st_ino })
    }

    /// The names in the folder `path`, sorted, `most` at most; none when it is no folder.
    pub fn names(&self, path: impl rustix::path::Arg, most: usize) -> Vec<String> {
        let found = self.open(path, FOLDER).map(|folder| entries(&folder)).unwrap_or_default();
        let mut names: Vec<String> = found.into_iter().take(most).map(|(name, _)| name.display().to_string()).collect();
        names.sort();
        names
    }

    /// What lies below the folder `path`, as relative paths: at most `levels` deep and `most` in number.
    pub fn list(&self, path: &Path, levels: usize, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        self.list_below(path, Path::new(""), levels, most, &mut found);
        found.sort();
        found
    }

    fn list_below(&self, root: &Path, below: &Path, levels: usize, most: usize, found: &mut Vec<String>) {
        let Ok(folder) = self.open(root.join(below), FOLDER | OFlags::NOFOLLOW) else { return };
        for (name, kind) in entries(&folder) {
            if found.len() >= most {
                return;
            }
            let path = below.join(name);
            found.push(path.display().to_string());
            if levels > 1 && kind == FileType::Directory {
                self.list_below(root, &path, levels - 1, most, found);
            }
        }
    }

    /// Copies folders, files and links below the folder `path` to `to`, which is there and empty. Other kinds of
    /// file are left out, as are mounts below `path`, and files beyond a total of `most` bytes.
    ///
    /// # Errors
    /// Those of open(2), read(2) and write(2).
    pub fn copy(&self, path: &Path, to: &Path, most: u64) -> io::Result<()> {
        let mut room = most;
        let folder = self.open(path, FOLDER)?;
        let device = fstat(&folder)?.st_dev;
        self.copy_below(path, &folder, to, device, &mut room)
    }

    fn copy_below(&self, path: &Path, folder: &OwnedFd, to: &Path, device: u64, room: &mut u64) -> io::Result<()> {
        for (name, kind) in entries(folder) {
            let (from, to) = (path.join(&name), to.join(&name));
            match kind {
                FileType::Directory => {
                    let Ok(below) = self.open(&from, FOLDER | OFlags::NOFOLLOW) else { continue };
                    if fstat(&below)?.st_dev == device {
                        std::fs::create_dir(&to)?;
                        self.copy_below(&from, &below, &to, device, room)?;
                    }
                }
                FileType::Symlink => {
                    let target = readlinkat(folder, &name, Vec::new())?;
                    symlink(Path::new(std::ffi::OsStr::from_bytes(target.as_bytes())), to)?;
                }
                FileType::RegularFile => {
                    let Ok(file) = self.open(&from, OFlags::RDONLY | OFlags::NOFOLLOW).map(File::from) else {
                        continue;
                    };
                    let meta = file.metadata()?;
                    // Holes are bytes, too, once they are copied.
                    if !meta.is_file() || meta.len() > *room {
                        continue;
                    }
                    *room -= meta.len();
                    let mode = meta.mode() & 0o777;
                    let mut copy = File::options().write(true).create_new(true).mode(mode).open(to)?;
                    io::copy(&mut io::Read::take(file, meta.len()), &mut copy)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is in a folder, but for `.` and `..`, as far as it can be read.
fn entries(folder: &OwnedFd) -> Vec<(PathBuf, FileType)> {
    let Ok(dir) = Dir::read_from(folder) else { return Vec::new() };
    let path = |name: &std::ffi::CStr| PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let listed = dir.flatten().filter(|entry| ![c".", c".."].contains(&entry.file_name()));
    listed.map(|entry| (path(entry.file_name()), entry.file_type())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree whose links lead to `outside`, absolute and by `..`.
    fn trapped() -> (tempfile::TempDir, Rooted) {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        for folder in [&inside, &outside, &inside.join("folder")] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(outside.join("secret"), "x").unwrap();
        fs::write(inside.join("folder/own"), "y").unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../outside", inside.join("folder/up")).unwrap();
        symlink("/folder", inside.join("within")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Rooted(rustix::fs::open(&inside, flags, Mode::empty()).unwrap());
        (dir, root)
    }

    #[test]
    fn no_link_and_no_dots_lead_out() {
        let (dir, root) = trapped();
        assert!(dir.path().join("inside/absolute/secret").exists(), "the trap is alive");
        for path in ["absolute", "absolute/secret", "folder/up/secret", "../outside/secret", "/../outside"] {
            assert!(root.open(path, OFlags::RDONLY).is_err(), "{path}");
            assert_eq!(root.names(path, 9), Vec::<String>::new(), "{path}");
        }
        assert!(root.id("within/own").is_some(), "an absolute link begins at the root");
        assert_eq!(root.list(Path::new("/"), 3, 99), ["absolute", "folder", "folder/own", "folder/up", "within"]);
        assert_eq!(root.list(Path::new("/"), 3, 2).len(), 2);
    }

    #[test]
    fn a_copy_has_links_as_links_no_pipes_and_a_bound() {
        let (dir, root) = trapped();
        let to = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("inside/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(dir.path().join("inside/large"), [0; 100]).unwrap();
        root.copy(Path::new("/"), to.path(), 50).unwrap();
        let mut names: Vec<_> = fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["absolute", "folder", "within"]);
        assert!(fs::symlink_metadata(to.path().join("absolute")).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(to.path().join("folder/own")).unwrap(), "y");
    }
}
