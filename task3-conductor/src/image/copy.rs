//! `COPY SOURCE DESTINATION`: copies files from the Conductorfile's folder into the image.
//!
//! Two trees are involved, and neither is trusted. In the *context*, the Conductorfile's folder, a link could point to
//! a secret of the host; in the image, a link `/app -> /etc` could redirect the copy to the host's /etc. So the source
//! is resolved by openat2(2) without following links, the destination with `RESOLVE_IN_ROOT`. The rest is done by
//! [`nsutil::rooted::copy`], by descriptor.
//!
//! The cache key of the layer includes names, modes, contents and hard links of everything copied (see [`CopySource`]).
//! Owners and times do not count: everything belongs to root afterwards.
//!
//! Conductor's own store is excluded from a context: each build would double it.
//!
//! Look: `strace -e openat2 conductor build eg`. Manual: openat2(2), path_resolution(7).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::copy::{KEPT_MODE_BITS, Tree, copy_into_image, data_ranges, kind_name};
use nsutil::rooted::{Entry, FileId, Root, file_id, file_id_at, walk};
use nsutil::rootfs::Rootfs;
use nsutil::step;
use rustix::fs::{FileType, OFlags, Stat};
use sha2::{Digest, Sha256};

use super::layer::Key;
use crate::store::Store;

/// A file, or a folder with its contents, read and hashed but not copied yet.
#[derive(Debug)]
pub struct CopySource {
    /// The folder that the source's path begins in.
    context: OwnedFd,
    /// Where in the context it is.
    source: PathBuf,
    is_folder: bool,
    /// Hash of everything a copy depends on.
    hash: Sha256,
    /// The folders of conductor's own store.
    store: Vec<FileId>,
    /// Those that were found and skipped.
    left_out: Vec<PathBuf>,
    /// The first name of each file that has several.
    linked: HashMap<FileId, PathBuf>,
}

impl CopySource {
    /// Reads `source`, a relative path without `..`, in the folder `context`.
    ///
    /// # Errors
    /// `ENOENT` when it does not exist; in words when a symbolic link is in its path, when it is in conductor's own
    /// store, or when it contains something other than files, folders and links.
    pub fn read(context: &Path, source: &Path, store: &Store) -> Result<Self> {
        let folder = File::open(context).or_cannot("open", context.display())?;
        let store = [store.images_dir(), store.containers_dir(), store.cache_dir()];
        let mut read = Self {
            context: folder.into(),
            source: source.to_owned(),
            is_folder: false,
            hash: Sha256::new(),
            store: store.iter().filter_map(|folder| file_id_at(folder)).collect(),
            left_out: Vec::new(),
            linked: HashMap::new(),
        };
        read.gather().map_err(|error| match error.errno() {
            Some(Errno::ENOENT) => {
                error.hint(format_args!("paths begin in the Conductorfile's folder, {}", context.display()))
            }
            _ => error,
        })?;
        Ok(read)
    }

    /// Adds everything a copy depends on to a key.
    pub fn add_to(&self, key: Key) -> Key {
        // The name counts when a file goes into a folder.
        let name = self.source.file_name().unwrap_or_default();
        key.with(name.as_bytes()).with(self.hash.clone().finalize())
    }

    /// Folders of conductor's own store that are left out.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// Copies it to `destination` in `root`: a file to that path, or into it when it ends with `/` or is a folder; what
    /// is in a folder into that folder.
    ///
    /// # Errors
    /// `EISDIR`, `ENOTDIR` when something else is in the way; `ENOSPC` …; in words when the source has changed since.
    pub fn copy_to(&self, root: &Rootfs, destination: &str) -> Result<()> {
        let mut place = PathBuf::from(destination);
        match self.source.file_name() {
            Some(name) if !self.is_folder && (destination.ends_with('/') || root.has_folder(&place)) => {
                place.push(name)
            }
            _ => (),
        }
        let above = place.parent().unwrap_or(Path::new("/"));
        root.folder(above)?;
        step!("copy",
            call: "openat2(context, \"{}\", RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS); openat2(ROOT, \"{}\", RESOLVE_IN_ROOT)", self.source.display(), above.display();
            why: "{} is looked up in the image's own root, and no link in either tree leads out of it", place.display();
            shell: "cp -r --no-dereference {} ROOT{}", self.source.display(), place.display());
        let context = Root::without_links(self.context.try_clone().or_cannot("open", "the context")?);
        let image = Root::new(File::open(root.path()).or_cannot("open", root.path().display())?.into());
        copy_into_image(&Tree::new(context, ""), &self.source, &self.store, &Tree::new(image, ""), &place)
    }

    fn gather(&mut self) -> Result<()> {
        let source = self.source.clone();
        let mut above: Vec<&Path> = source.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        for path in above {
            let about = rustix::fs::fstat(self.open(path)?).or_cannot("look at", path.display())?;
            if self.store.contains(&file_id(&about)) {
                return Err(Error::new("copy", source.display(), "it is in conductor's own store")
                    .hint("`conductor cp` copies out of a container, and `FROM` takes an image"));
            }
        }
        let folder = self.open(source.parent().unwrap_or(Path::new("")))?;
        let name = source.file_name().unwrap_or(OsStr::new("."));
        let entry = Entry::new(folder.as_fd(), name, source.display().to_string());
        self.is_folder = FileType::from_raw_mode(entry.stat()?.st_mode) == FileType::Directory;
        walk(&entry, &mut |entry, about, path| self.gather_one(entry, about, path))
    }

    /// `path` is relative to the source. Returns whether to descend into it.
    fn gather_one(&mut self, entry: &Entry<'_>, about: &Stat, path: &Path) -> Result<bool> {
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory if self.store.contains(&file_id(about)) => {
                let shown = self.source.join(path);
                self.left_out.push(shown.strip_prefix(".").unwrap_or(&shown).to_owned());
                return Ok(false);
            }
            FileType::Directory => self.note(path, about.st_mode & KEPT_MODE_BITS, "folder", b""),
            FileType::RegularFile => self.gather_file(entry, path)?,
            FileType::Symlink if path.as_os_str().is_empty() => return Err(behind_a_link(&self.source)),
            FileType::Symlink => self.note(path, 0o777, "link", entry.target()?.as_bytes()),
            kind => {
                let reason = format!("it is {}, which cannot be copied", kind_name(kind));
                return Err(Error::new("copy", entry.shown(), reason));
            }
        }
        Ok(true)
    }

    fn gather_file(&mut self, entry: &Entry<'_>, path: &Path) -> Result<()> {
        let (file, about) = entry.open(FileType::RegularFile)?;
        let first = self.linked.get(&file_id(&about)).filter(|_| about.st_nlink > 1).cloned();
        match first {
            Some(first) => self.note(path, 0, "hard link", first.as_os_str().as_bytes()),
            None => {
                let hash = hash(&mut File::from(file), about.st_size as u64).or_cannot("read", entry.shown())?;
                self.note(path, about.st_mode & KEPT_MODE_BITS, "file", &hash);
                self.linked.insert(file_id(&about), path.to_owned());
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, mode: u32, kind: &str, content: &[u8]) {
        for part in [path.as_os_str().as_bytes(), &mode.to_le_bytes(), kind.as_bytes(), content] {
            // Its length first: ("ab", "c") is not ("a", "bc").
            self.hash.update((part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
    }

    /// Opens a path of the context without following links.
    fn open(&self, path: &Path) -> Result<OwnedFd> {
        match Root::without_links(&self.context).open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::ELOOP) => Err(behind_a_link(path)),
            outcome => outcome.or_cannot("read", path.display()),
        }
    }
}

fn behind_a_link(path: &Path) -> Error {
    Error::new("copy", path.display(), "it is, or is behind, a symbolic link")
        .hint("COPY follows no links, since one could lead out of the Conductorfile's folder: name what it points to")
}

/// Hashes the data ranges of a file and their offsets; holes are not read.
fn hash(file: &mut File, size: u64) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    for part in data_ranges(file, size)? {
        hash.update(part.start.to_le_bytes());
        file.seek(SeekFrom::Start(part.start))?;
        let mut content = (&*file).take(part.end - part.start);
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
    }
    hash.update(size.to_le_bytes());
    Ok(hash.finalize().into())
}
