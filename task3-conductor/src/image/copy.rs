//! `COPY SOURCE DESTINATION`: files from beside the Conductorfile into the image, and nothing else from anywhere else.
//!
//! Two trees take part, and neither is to be trusted with paths. In the *context*, the Conductorfile's folder, a link
//! could lead to a secret of the host's; in the image, a link `/app -> /etc` could lead the copy into the host's /etc.
//! So nothing is opened by a joined path. The source is looked up by openat2(2) with `RESOLVE_BENEATH` and without
//! following links; the destination with `RESOLVE_IN_ROOT`, which takes the image's root for `/` as a process in it will.
//!
//! Whether the layer can be taken from the cache is asked of the [`Tree`]: names, modes and contents of all that would be
//! copied. Owners and times do not count: everything belongs to root afterwards.
//!
//! Look: `strace -e openat2 conductor build eg`. Manual: openat2(2), path_resolution(7).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::rootfs::Rootfs;
use nsutil::step;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use sha2::{Digest, Sha256};

use super::layer::Key;

/// A file, or a folder with all that is in it, read and hashed; nothing of it has been copied yet.
#[derive(Debug)]
pub struct Tree {
    /// The folder that the paths of the entries begin in.
    context: OwnedFd,
    /// Where in the context it is.
    source: PathBuf,
    /// What is there: the source itself first, a folder before what is in it, names in order.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Below the source; the source itself is empty.
    path: PathBuf,
    mode: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder,
    File([u8; 32]),
    Link(OsString),
}

/// Permissions that are kept. Not set-user-ID: a file of some user's would become a program with root's rights.
const KEPT: u32 = 0o1777;

impl Tree {
    /// Reads `source`, a relative path without `..`, in the folder `context`.
    ///
    /// # Errors
    /// `ENOENT` when it is not there; in words when a symbolic link stands on the way to it, or when it holds something
    /// other than files, folders and links.
    pub fn read(context: &Path, source: &Path) -> Result<Self> {
        let folder = File::open(context).or_cannot("open", context.display())?;
        let mut tree = Self { context: folder.into(), source: source.to_owned(), entries: Vec::new() };
        tree.gather(PathBuf::new()).map_err(|error| match error.errno() {
            Some(Errno::ENOENT) => {
                error.hint(format_args!("paths begin in the Conductorfile's folder, {}", context.display()))
            }
            _ => error,
        })?;
        Ok(tree)
    }

    /// Adds all that a copy of it depends on.
    pub fn add_to(&self, key: Key) -> Key {
        // The name counts when a file goes into a folder.
        let name = self.source.file_name().unwrap_or_default();
        self.entries.iter().fold(key.with(name.as_bytes()), |key, entry| {
            let key = key.with(entry.path.as_os_str().as_bytes()).with(entry.mode.to_le_bytes());
            match &entry.what {
                What::Folder => key.with("folder"),
                What::File(hash) => key.with("file").with(hash),
                What::Link(target) => key.with("link").with(target.as_bytes()),
            }
        })
    }

    /// Copies it to `destination` in `root`: a file to that path, or into it when it ends with `/` or is a folder; what
    /// is in a folder into that folder.
    ///
    /// # Errors
    /// `EISDIR`, `ENOTDIR` when something else is in the way; `ENOSPC` …; in words when the source has changed since.
    pub fn copy_to(&self, root: &Rootfs, destination: &str) -> Result<()> {
        let place = Path::new(destination);
        let is_folder = matches!(self.entries.first(), Some(Entry { what: What::Folder, .. }));
        let place = match self.source.file_name() {
            Some(name) if !is_folder && (destination.ends_with('/') || root.has_folder(place)) => place.join(name),
            _ => place.to_owned(),
        };
        self.entries.iter().try_for_each(|entry| self.copy(entry, root, &below(&place, &entry.path)))
    }

    fn gather(&mut self, path: PathBuf) -> Result<()> {
        let whole = below(&self.source, &path);
        let about = self.look(&whole)?;
        let mode = about.st_mode & KEPT;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => {
                let what = What::File(hash(&mut self.open(&whole, OFlags::NONBLOCK)?, &whole)?);
                self.entries.push(Entry { path, mode, what });
            }
            FileType::Symlink if path.as_os_str().is_empty() => return Err(behind_a_link(&whole)),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(self.open(&whole, OFlags::PATH | OFlags::NOFOLLOW)?, "", Vec::new());
                let target = OsStr::from_bytes(target.or_cannot("read", whole.display())?.as_bytes()).to_owned();
                self.entries.push(Entry { path, mode: 0o777, what: What::Link(target) });
            }
            FileType::Directory => {
                let folder = self.open(&whole, OFlags::DIRECTORY)?;
                self.entries.push(Entry { path: path.clone(), mode, what: What::Folder });
                for name in names(&folder, &whole)? {
                    self.gather(path.join(name))?;
                }
            }
            kind => return Err(Error::new("copy", whole.display(), format!("it is {}", name_of(kind)))),
        }
        Ok(())
    }

    fn copy(&self, entry: &Entry, root: &Rootfs, to: &Path) -> Result<()> {
        let from = below(&self.source, &entry.path);
        if let What::Folder = entry.what {
            let is_new = !root.has_folder(to);
            let folder = root.folder(to)?;
            if is_new {
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(entry.mode))
                    .or_cannot("set the mode of", to.display())?;
            }
            return Ok(());
        }
        let folder = root.folder(to.parent().unwrap_or(Path::new("/")))?;
        let name = to.file_name().ok_or(Errno::EISDIR).or_cannot("copy to", to.display())?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => (),
            refused => refused.or_cannot("replace", to.display())?,
        }
        match &entry.what {
            What::Link(target) => rustix::fs::symlinkat(target, &folder, name).or_cannot("make link", to.display()),
            _ => self.copy_file(&from, entry.mode, &folder, name, to),
        }
    }

    fn copy_file(&self, from: &Path, mode: u32, folder: &OwnedFd, name: &OsStr, shown: &Path) -> Result<()> {
        step!("copy.file",
            call: "openat2(context, \"{}\", RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS); copy_file_range; fchmod({mode:o})", from.display();
            why: "{} is looked up in the image's own root, and no link in either tree leads out of it", shown.display();
            shell: "install --mode {mode:o} {} ROOT{}", from.display(), shown.display());
        let mut original = self.open(from, OFlags::NONBLOCK)?;
        let about = rustix::fs::fstat(&original).or_cannot("look at", from.display())?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(Error::new("copy", from.display(), "it was a file a moment ago"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let mut copy = copy.map(File::from).or_cannot("write", shown.display())?;
        io::copy(&mut original, &mut copy).or_cannot("write", shown.display())?;
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(mode)).or_cannot("set the mode of", shown.display())?;
        // make(1) and the like compare times.
        let modified = rustix::fs::Timespec { tv_sec: about.st_mtime, tv_nsec: about.st_mtime_nsec as _ };
        let times = Timestamps { last_access: modified, last_modification: modified };
        rustix::fs::futimens(&copy, &times).or_cannot("set the time of", shown.display())
    }

    fn look(&self, path: &Path) -> Result<Stat> {
        let file = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        rustix::fs::fstat(file).or_cannot("look at", path.display())
    }

    /// Opens a path of the context; what its last part is (a link, too) is for the flags to say.
    fn open(&self, path: &Path, flags: OFlags) -> Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let opened = match rustix::fs::openat2(self.context.as_fd(), path, flags, Mode::empty(), beneath) {
            Err(rustix::io::Errno::LOOP) => Err(behind_a_link(path)),
            outcome => outcome.or_cannot("read", path.display()),
        };
        opened.map(File::from)
    }
}

/// Joins paths; joining nothing would add a slash.
fn below(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

fn behind_a_link(path: &Path) -> Error {
    Error::new("copy", path.display(), "a symbolic link leads there")
        .hint("COPY follows no links, since one could lead out of the Conductorfile's folder: name what it points to")
}

fn names(folder: &File, shown: &Path) -> Result<Vec<OsString>> {
    let entries = Dir::read_from(folder).or_cannot("list", shown.display())?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.or_cannot("list", shown.display())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn hash(file: &mut File, shown: &Path) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).or_cannot("read", shown.display())? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe, which has no content to copy",
        FileType::Socket => "a socket, which has no content to copy",
        _ => "a device, which is no file to copy",
    }
}
