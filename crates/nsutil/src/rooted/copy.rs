//! File trees copied from one root into another, by descriptor.
//!
//! One of the trees belongs to a container, whose processes can change it during the copy. A path typed by the user is
//! looked up by openat2(2) in its [`Root`]; from there each name is opened relative to the descriptor of its folder.
//!
//! Look: `strace -e openat2,openat,fstat conductor cp web:/etc/passwd .`. Manual: lseek(2) for `SEEK_DATA`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, StatxFlags, Timespec, Timestamps, Uid, XattrFlags,
};

use super::walk::{Entry, names};
use super::{FileId, Root, file_id, printable};
use crate::error::{Error, OrCannot, Result, line};
use crate::step;

/// A file tree that is copied from or to.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    /// Prefix of its paths in messages, such as `web:`.
    shown: String,
    /// The upper directory, if the tree is an overlay.
    upper: Option<PathBuf>,
}

/// Purpose of the copy. It decides which metadata is copied, and what happens to existing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// `cp`: modes and times. The copy belongs to the caller; set-user-ID bits (which would give root's privileges) and
    /// devices are left out. An existing file keeps its owner and mode.
    Cp,
    /// `COPY`: the same, but files are replaced, and a link to a folder is followed.
    Image,
    /// `commit`: everything, with owners, set-user-ID bits, extended attributes and devices (overlay whiteouts).
    Commit,
}

/// Mode bits that are kept, except for `commit`.
pub const KEPT_MODE_BITS: u32 = 0o1777;

impl Tree {
    /// The tree of a root; `shown` is the prefix of its paths in messages.
    pub fn new(root: Root, shown: impl Into<String>) -> Self {
        Self { root, shown: shown.into(), upper: None }
    }

    /// The same tree, an overlay whose changes are in the folder `upper`.
    #[must_use]
    pub fn with_upper(self, upper: PathBuf) -> Self {
        Self { upper: Some(upper), ..self }
    }

    /// The identities of a folder of this tree: its own, and in an overlay also that of its upper directory, if it
    /// exists.
    fn file_ids(&self, folder: BorrowedFd<'_>) -> Vec<FileId> {
        let itself = rustix::fs::fstat(folder).map(|about| file_id(&about));
        let below = |upper: &PathBuf| {
            let path = path_of(folder)?.strip_prefix(path_of(self.root.folder.as_fd())?).ok()?.to_owned();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let changes = rustix::fs::openat(rustix::fs::CWD, upper.join(path), flags, Mode::empty()).ok()?;
            rustix::fs::fstat(changes).ok().map(|about| file_id(&about))
        };
        itself.ok().into_iter().chain(self.upper.as_ref().and_then(below)).collect()
    }

    fn shown(&self, path: &Path) -> String {
        let path = path.to_string_lossy();
        format!("{}{}", self.shown, printable(OsStr::new(path.strip_suffix("/.").unwrap_or(&path))))
    }

    fn folder(&self, path: &Path) -> Result<OwnedFd> {
        self.root.folder(path).or_cannot("open the folder", self.shown(path))
    }
}

/// Copies `from` in one root to `to` in another, as cp(1) does: into `to` if that is a folder, otherwise as `to`. If
/// `from` ends with `/.`, the contents of the folder are copied into the folder `to`.
///
/// Returns what could not be copied, one line each; the rest was copied.
///
/// # Errors
/// `ENOENT` when `from`, or the folder above `to`, does not exist; `ENOTDIR` for a folder onto a file; `ENOSPC` ….
pub fn copy(source: &Tree, from: &Path, target: &Tree, to: &Path) -> Result<Vec<String>> {
    let (from_text, to_text) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    let contents_only = from_text.ends_with(b"/.") || from_text == b".";
    // A path that ends in `/` or `..`, and the root, have no file name: the folder itself is opened.
    let name = from.file_name().filter(|_| !contents_only && !from_text.ends_with(b"/"));
    let (above, name) = match name {
        Some(name) => (source.folder(from.parent().unwrap_or(Path::new("/")))?, name),
        None => (source.folder(from)?, OsStr::new(".")),
    };
    let entry = Entry { folder: above.as_fd(), name, shown: source.shown(from) };
    let kind = kind_of(&entry.stat()?);
    let own_name = from.file_name().filter(|_| !contents_only);

    let there = match target.root.open(to, OFlags::PATH) {
        Ok(found) => Some(found),
        Err(Errno::ENOENT) => None,
        Err(errno) => return Err(errno).or_cannot("open", target.shown(to)),
    };
    let there_is_folder = match &there {
        Some(found) => {
            kind_of(&rustix::fs::fstat(found).or_cannot("look at", target.shown(to))?) == FileType::Directory
        }
        None => false,
    };
    let mut copier = Copier::new(Purpose::Cp, source, target);
    match (there, own_name) {
        (Some(found), Some(name)) if there_is_folder => {
            let path = to.join(name);
            copier.copy(&entry, Destination { folder: found.as_fd(), name, shown: target.shown(&path), path })?;
        }
        (Some(found), None) if there_is_folder => {
            copier.fill_copy_root(&entry, found.as_fd(), to, &target.shown(to))?;
        }
        (there, _) => {
            if to_text.ends_with(b"/") && kind != FileType::Directory || there.is_some() && kind == FileType::Directory
            {
                let errno = if there.is_some() { Errno::ENOTDIR } else { Errno::ENOENT };
                return Err(errno).or_cannot(format_args!("copy {} to", entry.shown), target.shown(to));
            }
            let above = target.folder(to.parent().unwrap_or(Path::new("/")))?;
            let name = to.file_name().ok_or(Errno::EISDIR).or_cannot("copy to", target.shown(to))?;
            let path = to.to_owned();
            copier.copy(&entry, Destination { folder: above.as_fd(), name, shown: target.shown(to), path })?;
        }
    }
    Ok(copier.skipped)
}

/// Copies the contents of a folder into an empty one, with all metadata. No other process may write to it.
///
/// # Errors
/// `ENOSPC`, `EIO` ….
pub fn copy_everything(from: &Path, to: &Path) -> Result<()> {
    let root = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty());
        opened.or_cannot("open", path.display()).map(|folder| Tree::new(Root::new(folder), path.display().to_string()))
    };
    let (source, target) = (root(from)?, root(to)?);
    let entry = Entry::new(source.root.folder.as_fd(), OsStr::new("."), source.shown.clone());
    let mut copier = Copier::new(Purpose::Commit, &source, &target);
    copier.fill_copy_root(&entry, target.root.folder.as_fd(), Path::new("/"), &target.shown)?;
    copier.all_was_copied()
}

/// Copies a file, or the contents of a folder, to the path `to` in an image, for `COPY`. The folders above `to` exist.
///
/// # Errors
/// `EISDIR`, `ENOTDIR` when something else is in the way; `ENOSPC` …; in words when something cannot be copied.
pub fn copy_into_image(source: &Tree, from: &Path, excluded: &[FileId], target: &Tree, to: &Path) -> Result<()> {
    let above = source.folder(from.parent().unwrap_or(Path::new(".")))?;
    let name = from.file_name().unwrap_or(OsStr::new("."));
    let entry = Entry { folder: above.as_fd(), name, shown: source.shown(from) };
    let mut copier = Copier { excluded: excluded.to_vec(), ..Copier::new(Purpose::Image, source, target) };
    let shown = target.shown(to);
    match to.file_name() {
        Some(name) => {
            let above = target.folder(to.parent().unwrap_or(Path::new("/")))?;
            copier.copy(&entry, Destination { folder: above.as_fd(), name, path: to.to_owned(), shown })?;
        }
        // The root itself.
        None => copier.fill_copy_root(&entry, target.folder(to)?.as_fd(), to, &shown)?,
    }
    copier.all_was_copied()
}

/// Destination of a copy: a name in an open folder.
struct Destination<'a> {
    folder: BorrowedFd<'a>,
    name: &'a OsStr,
    /// Its path in the target tree.
    path: PathBuf,
    shown: String,
}

struct Copier<'a> {
    purpose: Purpose,
    source: &'a Tree,
    target: &'a Tree,
    skipped: Vec<String>,
    /// Copies of files with several hard links.
    linked: HashMap<FileId, PathBuf>,
    /// The first folder that is copied into. If it is below the source, it is skipped; otherwise the copy would never
    /// end.
    copy_root: Option<OwnedFd>,
    /// Folders that are not copied.
    excluded: Vec<FileId>,
}

fn kind_of(about: &Stat) -> FileType {
    FileType::from_raw_mode(about.st_mode)
}

/// The path of an open file in the mount namespace where it was opened.
fn path_of(file: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

impl<'a> Copier<'a> {
    fn new(purpose: Purpose, source: &'a Tree, target: &'a Tree) -> Self {
        let (skipped, linked, excluded) = (Vec::new(), HashMap::new(), Vec::new());
        Self { purpose, source, target, skipped, linked, copy_root: None, excluded }
    }

    fn all_was_copied(self) -> Result<()> {
        let first = self.skipped.into_iter().next();
        first.map_or(Ok(()), |first| Err(Error::new("copy", self.source.shown(Path::new("all")), first)))
    }

    fn copy(&mut self, entry: &Entry<'_>, destination: Destination<'_>) -> Result<()> {
        let about = entry.stat()?;
        match kind_of(&about) {
            FileType::Directory if self.excluded.contains(&file_id(&about)) => Ok(()),
            FileType::Directory => {
                let opened = entry.open(FileType::Directory)?;
                if self.is_copy_root(opened.0.as_fd(), &entry.shown) {
                    return Ok(());
                }
                let (folder, is_new) = self.folder(&destination)?;
                self.fill(entry, opened, folder.as_fd(), is_new, &destination.path, &destination.shown)
            }
            FileType::RegularFile => self.copy_file(entry, &destination),
            FileType::Symlink => {
                let target = entry.target()?;
                self.create_and_rename(&destination, |name| {
                    rustix::fs::symlinkat(target.as_os_str(), destination.folder, name)
                })?;
                self.set_owner(&destination, &about)
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo if self.purpose == Purpose::Commit => {
                let mode = Mode::from_raw_mode(about.st_mode & 0o7777);
                self.create_and_rename(&destination, |name| {
                    rustix::fs::mknodat(destination.folder, name, kind_of(&about), mode, about.st_rdev)
                })?;
                self.set_owner(&destination, &about)
            }
            // A socket is useless without the process that listened on it.
            FileType::Socket if self.purpose == Purpose::Commit => Ok(()),
            kind => {
                let error =
                    Error::new("copy", &entry.shown, format!("it is {}, which cannot be copied", kind_name(kind)));
                self.skipped.push(line(&error));
                Ok(())
            }
        }
    }

    /// Opens or creates the destination folder; returns whether it was created.
    fn folder(&self, destination: &Destination<'_>) -> Result<(OwnedFd, bool)> {
        let is_new = match rustix::fs::mkdirat(destination.folder, destination.name, Mode::RWXU) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(errno) => return Err(errno).or_cannot("make the folder", &destination.shown),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(destination.folder, destination.name, flags, Mode::empty()) {
            // For example /bin, a link to /usr/bin.
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) if self.purpose == Purpose::Image => {
                let folder = self.target.root.open(&destination.path, OFlags::RDONLY | OFlags::DIRECTORY);
                folder.or_cannot("copy a folder to", &destination.shown).map(|folder| (folder, false))
            }
            folder => folder.or_cannot("copy a folder to", &destination.shown).map(|folder| (folder, is_new)),
        }
    }

    /// Copies the contents of a folder into the root of the copy.
    fn fill_copy_root(&mut self, entry: &Entry<'_>, copy_root: BorrowedFd<'_>, path: &Path, shown: &str) -> Result<()> {
        let opened = entry.open(FileType::Directory)?;
        self.copy_root = Some(copy_root.try_clone_to_owned().or_cannot("open", shown)?);
        if self.is_copy_root(opened.0.as_fd(), &entry.shown) {
            return Ok(());
        }
        self.fill(entry, opened, copy_root, self.purpose == Purpose::Commit, path, shown)
    }

    /// Copies the contents of an open folder. A new folder then gets the mode of the original; an existing one keeps
    /// its own.
    fn fill(
        &mut self,
        entry: &Entry<'_>,
        (folder, about): (OwnedFd, Stat),
        to: BorrowedFd<'_>,
        is_new: bool,
        path: &Path,
        shown: &str,
    ) -> Result<()> {
        if self.copy_root.is_none() {
            self.copy_root = Some(to.try_clone_to_owned().or_cannot("open", shown)?);
        }
        if self.purpose != Purpose::Commit && is_kernel_file_system(folder.as_fd()) {
            let reason = "it is on a virtual file system of the kernel";
            self.skipped.push(line(&Error::new("copy", &entry.shown, reason)));
            return Ok(());
        }
        step!("copy.folder",
            call: "openat({}, O_NOFOLLOW); getdents64; each name: openat(folder, name, O_NOFOLLOW)", entry.shown;
            why: "names are opened relative to descriptors, so no symbolic link leads out of either tree";
            shell: "cp -r --no-dereference {}/. {shown}", entry.shown);
        for name in names(folder.as_fd(), &entry.shown)? {
            let plain = printable(&name);
            let entry = Entry { folder: folder.as_fd(), name: &name, shown: format!("{}/{plain}", entry.shown) };
            let destination =
                Destination { folder: to, name: &name, path: path.join(&name), shown: format!("{shown}/{plain}") };
            self.copy(&entry, destination)?;
        }
        if is_new { self.finish(folder.as_fd(), &about, to, shown) } else { Ok(()) }
    }

    /// Whether a folder of the source is the root of the copy, by whatever path; then it is skipped.
    fn is_copy_root(&mut self, folder: BorrowedFd<'_>, shown: &str) -> bool {
        let Some(copy_root) = &self.copy_root else { return false };
        // Looked up each time: the upper directory has no such folder before the first write.
        let known = self.target.file_ids(copy_root.as_fd());
        let is_copy_root = self.source.file_ids(folder).iter().any(|file_id| known.contains(file_id));
        if is_copy_root {
            self.skipped.push(line(&Error::new("copy", shown, "it is the destination of the copy")));
        }
        is_copy_root
    }

    fn copy_file(&mut self, entry: &Entry<'_>, destination: &Destination<'_>) -> Result<()> {
        let (original, about) = entry.open(FileType::RegularFile)?;
        let mut original = File::from(original);
        if self.purpose == Purpose::Cp {
            match self.file_at(destination)? {
                Some((mut there, FileType::RegularFile)) => {
                    there.set_len(0).or_cannot("write", &destination.shown)?;
                    let written = write_sparsely(&mut original, &mut there, about.st_size as u64);
                    return written.or_cannot("write", &destination.shown);
                }
                Some((mut there, _)) => {
                    return io::copy(&mut original, &mut there).map(drop).or_cannot("write", &destination.shown);
                }
                None => (),
            }
        }
        let has_several_names = about.st_nlink > 1;
        let first = self.linked.get(&file_id(&about)).filter(|_| has_several_names);
        // If linking fails, copy the content again.
        if first.is_some_and(|first| self.link(first, destination).is_ok()) {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.create_and_rename(destination, |name| {
            let mut copy = File::from(rustix::fs::openat(destination.folder, name, flags, Mode::RUSR | Mode::WUSR)?);
            let written = write_sparsely(&mut original, &mut copy, about.st_size as u64);
            written.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
            Ok(())
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(destination.folder, destination.name, flags, Mode::empty())
            .or_cannot("open", &destination.shown)?;
        if has_several_names {
            self.linked.insert(file_id(&about), destination.path.clone());
        }
        self.finish(original.as_fd(), &about, copy.as_fd(), &destination.shown)
    }

    /// The existing file that cp(1) would write to, also behind a link; on the host also a named pipe or a device such
    /// as /dev/null, which must never be replaced by a file.
    fn file_at(&self, destination: &Destination<'_>) -> Result<Option<(File, FileType)>> {
        let Ok(about) = rustix::fs::statat(destination.folder, destination.name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(None);
        };
        let is_host = self.target.root.is_host();
        // NONBLOCK: do not wait for a reader of a container's named pipe.
        let patience = if is_host { OFlags::empty() } else { OFlags::NONBLOCK };
        let flags = OFlags::WRONLY | OFlags::NOCTTY | patience;
        let opened = match kind_of(&about) {
            FileType::RegularFile => {
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(destination.folder, destination.name, flags, Mode::empty());
                opened.or_cannot("write", &destination.shown)?
            }
            // A dangling link is replaced.
            FileType::Symlink if self.target.root.open(&destination.path, OFlags::PATH).is_err() => return Ok(None),
            FileType::Directory => return Ok(None),
            _ => self.target.root.open(&destination.path, flags).or_cannot("write", &destination.shown)?,
        };
        match kind_of(&rustix::fs::fstat(&opened).or_cannot("look at", &destination.shown)?) {
            FileType::Directory => Ok(None),
            kind @ FileType::RegularFile => Ok(Some((File::from(opened), kind))),
            kind @ (FileType::CharacterDevice | FileType::Fifo) if is_host => Ok(Some((File::from(opened), kind))),
            kind => Err(Error::new("write", &destination.shown, format!("it is {}", kind_name(kind)))),
        }
    }

    /// Creates a hard link to a file that was copied before.
    fn link(&self, first: &Path, destination: &Destination<'_>) -> Result<()> {
        let made = self.target.root.open(first, OFlags::PATH | OFlags::NOFOLLOW).or_cannot("open", first.display())?;
        self.create_and_rename(destination, |name| {
            rustix::fs::linkat(&made, "", destination.folder, name, AtFlags::EMPTY_PATH)
        })?;
        // rename(2) does nothing if both names are links to the same file.
        let _ = rustix::fs::unlinkat(destination.folder, temporary_name(), AtFlags::empty());
        Ok(())
    }

    /// Creates something under a temporary name and renames it to its place, replacing a file or link.
    fn create_and_rename(
        &self,
        destination: &Destination<'_>,
        make: impl FnOnce(&OsStr) -> rustix::io::Result<()>,
    ) -> Result<()> {
        self.refuse_mount(destination)?;
        self.refuse_device(destination)?;
        let temporary_name = temporary_name();
        let made = make(&temporary_name)
            .and_then(|()| {
                rustix::fs::renameat(destination.folder, &temporary_name, destination.folder, destination.name)
            })
            .or_cannot("write", &destination.shown);
        if made.is_err() {
            let _ = rustix::fs::unlinkat(destination.folder, &temporary_name, AtFlags::empty());
        }
        made
    }

    /// Refuses to replace a device node, such as the host's /dev/null.
    fn refuse_device(&self, destination: &Destination<'_>) -> Result<()> {
        let there = rustix::fs::statat(destination.folder, destination.name, AtFlags::SYMLINK_NOFOLLOW);
        match there.map(|about| kind_of(&about)) {
            Ok(kind @ (FileType::CharacterDevice | FileType::BlockDevice)) if self.purpose != Purpose::Image => {
                Err(Error::new("replace", &destination.shown, format!("it is {}", kind_name(kind))))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to replace a mount point: the kernel would remove a mount of another mount namespace along with its
    /// mount point.
    fn refuse_mount(&self, destination: &Destination<'_>) -> Result<()> {
        let mount_of = |name: &OsStr, flags| {
            rustix::fs::statx(destination.folder, name, flags, StatxFlags::MNT_ID).map(|about| about.stx_mnt_id)
        };
        let there = mount_of(destination.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if there.is_none() || there == mount_of(OsStr::new(""), AtFlags::EMPTY_PATH).ok() {
            return Ok(());
        }
        let busy = Err(Errno::EBUSY).or_cannot("replace", &destination.shown);
        busy.map_err(|error: Error| {
            error.hint("something is mounted there, for example a volume: change the volume's source instead")
        })
    }

    /// Sets the owner of something that cannot be opened.
    fn set_owner(&self, destination: &Destination<'_>, about: &Stat) -> Result<()> {
        if self.purpose != Purpose::Commit {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
        rustix::fs::chownat(destination.folder, destination.name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .or_cannot("set the owner of", &destination.shown)
    }

    /// Copies the metadata of the original.
    fn finish(&self, original: BorrowedFd<'_>, about: &Stat, copy: BorrowedFd<'_>, shown: &str) -> Result<()> {
        let mut kept = KEPT_MODE_BITS;
        if self.purpose == Purpose::Commit {
            kept = 0o7777;
            let (user, group) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
            rustix::fs::fchown(copy, Some(user), Some(group)).or_cannot("set the owner of", shown)?;
            copy_attributes(original, copy).or_cannot("copy the attributes of", shown)?;
        }
        let mode = Mode::from_raw_mode(about.st_mode & kept);
        rustix::fs::fchmod(copy, mode).or_cannot("set the mode of", shown)?;
        let modified = Timespec { tv_sec: about.st_mtime, tv_nsec: about.st_mtime_nsec as _ };
        let times = Timestamps { last_access: modified, last_modification: modified };
        rustix::fs::futimens(copy, &times).or_cannot("set the time of", shown)
    }
}

/// Copies the data of a file and keeps its holes. Data appended meanwhile is not copied: the file may grow because of
/// the copy. See lseek(2).
fn write_sparsely(original: &mut File, copy: &mut File, size: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    for part in data_ranges(original, size)? {
        original.seek(io::SeekFrom::Start(part.start))?;
        copy.seek(io::SeekFrom::Start(part.start))?;
        io::copy(&mut (&*original).take(part.end - part.start), copy)?;
    }
    // Files in /proc report size 0 but have content.
    if size > 0 { copy.set_len(size) } else { Ok(()) }
}

/// The data ranges of a file of `size` bytes. One that reports size 0 is read to its end.
pub fn data_ranges(file: &File, size: u64) -> io::Result<Vec<Range<u64>>> {
    if size == 0 {
        return Ok(std::iter::once(0..u64::MAX).collect());
    }
    let (mut data_ranges, mut at) = (Vec::new(), 0);
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // The rest is a hole.
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without SEEK_DATA: all of it.
            Err(_) => return Ok(std::iter::once(0..size).collect()),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        data_ranges.push(start..at);
    }
    Ok(data_ranges)
}

fn copy_attributes(original: BorrowedFd<'_>, copy: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(original, &mut list[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        listed => listed?,
    };
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(original, name, &mut value[..])?;
        rustix::fs::fsetxattr(copy, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Temporary name of a file that is being written.
fn temporary_name() -> OsString {
    OsString::from(format!(".conductor-unfinished-{}", std::process::id()))
}

/// Virtual file systems, by their type in statfs(2).
const KERNEL_FILE_SYSTEMS: [i64; 5] = [
    // proc, sysfs, cgroup2, devpts, mqueue
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
];

fn is_kernel_file_system(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(folder).is_ok_and(|about| KERNEL_FILE_SYSTEMS.contains(&about.f_type))
}

/// Name of a file type other than folder, link and regular file.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no file",
    }
}
