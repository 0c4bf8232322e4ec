//! A layer's archive to a folder, whoever wrote it.
//!
//! An archive is a list of orders from a stranger: make this path, with this owner, linked to that. Here no path leads out
//! of the layer and none through a link: each is looked up below a descriptor of the layer's root with
//! `RESOLVE_NO_SYMLINKS`, `..` is refused, and what is made is made with `O_EXCL` or its like. No device is made but
//! those that every /dev has. An archive that unpacks to more than [`MOST_BYTES`] or [`MOST_FILES`], or whose headers have no
//! end, is refused when it says so and not when the disk is full. Overlay's own attributes would make it show other files
//! than the layer has; they are refused, and whiteouts become overlay's ([`super::whiteout`]).
//!
//! A tar archive knows no holes that all tools read, so a file's holes arrive as zeros: blocks of zeros become holes again.
//!
//! Look: `tar tvf LAYER | head`; `strace -e openat2,openat conductor load -i FILE`. Sources: image-spec, layer.md; pax(1).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::{Root, printable};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use tar::{Archive, Entry, EntryType};

use super::whiteout::{Attribute, Meaning, OPAQUE_ATTRIBUTE, attribute, meaning};

/// Bytes of all files of a layer.
pub const MOST_BYTES: u64 = 32 << 30;
/// Names of a layer.
pub const MOST_FILES: u64 = 2_000_000;
/// What is read before a file begins: its header, its long name, its attributes.
const MOST_HEADERS: u64 = 4 << 20;
/// Zeros of that length, where a block of a file begins, become a hole.
const BLOCK: usize = 4096;
/// Devices that every /dev has: none of them reaches hardware. (0:0 would be overlay's whiteout.)
const HARMLESS_DEVICES: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// Unpacks an archive into the empty folder `root`; `below` are the layers it lies upon, the topmost first.
///
/// # Errors
/// In words when the archive is damaged, or wants what is refused here; `ENOSPC` …, with the path in the layer.
pub fn unpack(archive: impl Read, root: &Path, below: &[PathBuf]) -> Result<()> {
    let left = Rc::new(Cell::new(0));
    let mut archive = Archive::new(Metered { inner: archive, left: left.clone() });
    let mut unpacking = Unpacking::new(root, below)?;
    let damaged = |error: io::Error| Error::new("read", "the archive", error);
    let mut entries = archive.entries().map_err(damaged)?;
    loop {
        left.set(MOST_HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damaged)?;
        left.set(u64::MAX);
        let shown = printable(OsStr::from_bytes(&entry.path_bytes()));
        unpacking.put(&mut entry).map_err(|error| Error::new("unpack", shown, error))?;
        // What is left of it is passed over now, for its bytes are no header.
        io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
    }
    unpacking.finish()
}

/// A reader that gives so many bytes.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(length as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("a header of it has no end"))?);
        Ok(length)
    }
}

/// What a file has besides its content.
#[derive(Debug)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    modified: Timespec,
    attributes: Vec<(String, Vec<u8>)>,
}

struct Unpacking<'a> {
    root: Root,
    below: &'a [PathBuf],
    /// Times of folders: set last, as each file that is put in changes them.
    folders: BTreeMap<PathBuf, Timespec>,
    files: u64,
    bytes: u64,
}

impl<'a> Unpacking<'a> {
    fn new(root: &Path, below: &'a [PathBuf]) -> Result<Self> {
        let root = Root::without_links(open_folder(root)?);
        Ok(Self { root, below, folders: BTreeMap::new(), files: 0, bytes: 0 })
    }

    fn put(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        self.count(entry)?;
        let path = inside(&entry.path_bytes())?;
        let Some(name) = path.file_name() else {
            let facts = Facts::read(entry)?;
            let root =
                self.root.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).or_cannot("open", "the root")?;
            return self.finish_folder(PathBuf::new(), root.as_fd(), &facts);
        };
        let above = path.parent().unwrap_or(Path::new(""));
        let folder = self.folder(above)?;
        match meaning(name.as_bytes()) {
            Meaning::File => self.make(entry, kind, &path, folder.as_fd(), name),
            Meaning::Opaque => self.hide_all(above),
            Meaning::Whiteout(hidden) => self.hide(folder.as_fd(), &above.join(OsStr::from_bytes(hidden))),
            Meaning::Ignored => Ok(()),
            Meaning::Wrong => refused("it is a whiteout without a name"),
        }
    }

    fn count(&mut self, entry: &Entry<'_, impl Read>) -> Result<()> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.files > MOST_FILES {
            return refused(format!("a layer has at most {MOST_FILES} files"));
        }
        if self.bytes > MOST_BYTES {
            return refused(format!("with it the layer has {} bytes, and {MOST_BYTES} are the most", self.bytes));
        }
        Ok(())
    }

    fn make(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        kind: EntryType,
        path: &Path,
        folder: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<()> {
        let facts = Facts::read(entry)?;
        let was = self.clear(folder, name, kind == EntryType::Directory)?;
        match kind {
            EntryType::Directory => {
                if was != Was::Folder {
                    rustix::fs::mkdirat(folder, name, Mode::RWXU).or_cannot("make", "the folder")?;
                }
                let made = open_at(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                if was == Was::Whiteout {
                    mark_opaque(made.as_fd())?;
                }
                self.finish_folder(path.to_owned(), made.as_fd(), &facts)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let file = File::from(open_at(folder, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
                write_sparsely(entry, &file)?;
                facts.give(file.as_fd())?;
                set_times(file.as_fd(), facts.modified)
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL).or_cannot("read", "its link")?;
                let target = inside(&target)?;
                self.link(&target, folder, name)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL).or_cannot("read", "its link")?;
                rustix::fs::symlinkat(OsStr::from_bytes(&target), folder, name).or_cannot("make", "the link")?;
                facts.give_name(folder, name)
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let number = device(entry, kind)?;
                let kind = match kind {
                    EntryType::Fifo => FileType::Fifo,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let mode = Mode::from_raw_mode(facts.mode);
                rustix::fs::mknodat(folder, name, kind, mode, number).or_cannot("make", "it")?;
                facts.give_name(folder, name)?;
                // It was made a moment ago and is no link. The owner's change took bits from its mode.
                rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).or_cannot("set", "its mode")
            }
            other => refused(format!("it is of kind {:?}, which no layer has", char::from(other.as_byte()))),
        }
    }

    /// Takes away what the archive has put there before; a folder in the place of a folder stays.
    fn clear(&self, folder: BorrowedFd<'_>, name: &OsStr, is_folder: bool) -> Result<Was> {
        let there = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(Was::Nothing),
            there => there.or_cannot("look at", "what is there")?,
        };
        let is_there = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
        if is_there && is_folder {
            return Ok(Was::Folder);
        }
        let flags = if is_there { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(folder, name, flags).or_cannot("replace", "what the layer has of that name")?;
        Ok(if is_whiteout(&there) { Was::Whiteout } else { Was::Nothing })
    }

    /// A second name of a file, which the archive or a layer below has.
    fn link(&mut self, target: &Path, folder: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let shown = || format!("to {}", printable(target.as_os_str()));
        let opened = match self.root.open(target, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::ENOENT) => {
                self.copy_up(target)?;
                self.root.open(target, OFlags::PATH | OFlags::NOFOLLOW)
            }
            opened => opened,
        };
        let opened = opened.or_cannot("link", shown())?;
        let about = rustix::fs::fstat(&opened).or_cannot("link", shown())?;
        if is_whiteout(&about) {
            return Err(Errno::ENOENT).or_cannot("link", shown());
        }
        rustix::fs::linkat(&opened, "", folder, name, AtFlags::EMPTY_PATH).or_cannot("link", shown())
    }

    /// Copies a file of a layer below into this one, as a write to it would have done.
    fn copy_up(&mut self, path: &Path) -> Result<()> {
        let Some((original, about)) = self.find_below(path, FileType::RegularFile) else {
            return refused(format!("{} is in no layer", printable(path.as_os_str())));
        };
        let folder = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let file = File::from(open_at(folder.as_fd(), name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
        write_sparsely(&mut File::from(original.try_clone().or_cannot("open", "a file below")?), &file)?;
        let facts = Facts::of(original.as_fd(), &about)?;
        facts.give(file.as_fd())?;
        set_times(file.as_fd(), facts.modified)
    }

    /// What the layers below have at a path, if it is of that kind.
    fn find_below(&self, path: &Path, kind: FileType) -> Option<(OwnedFd, Stat)> {
        for layer in self.below {
            let root = Root::without_links(open_folder(layer).ok()?);
            // A link on the way, or another kind of file: nothing that could be meant here.
            match root.open(path, OFlags::RDONLY | OFlags::NONBLOCK) {
                Err(Errno::ENOENT) => (),
                opened => {
                    let opened = opened.ok()?;
                    let about = rustix::fs::fstat(&opened).ok()?;
                    return (FileType::from_raw_mode(about.st_mode) == kind).then_some((opened, about));
                }
            }
        }
        None
    }

    /// The folder at a path of the layer. Archives may leave out folders that the layers below have: such a one is made, and is
    /// like the one below, or it would change owner and mode by being here.
    fn folder(&mut self, path: &Path) -> Result<OwnedFd> {
        match self.root.folder(path) {
            Err(Errno::ENOENT) => (),
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return refused(format!("{} is a link or a file, and no folder", printable(path.as_os_str())));
            }
            found => return found.or_cannot("open", "its folder"),
        }
        let above = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)).or_cannot("make", "its folder")?;
        if let Some((original, about)) = self.find_below(path, FileType::Directory) {
            let made = open_at(above.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let facts = Facts::of(original.as_fd(), &about)?;
            self.finish_folder(path.to_owned(), made.as_fd(), &facts)?;
        }
        self.root.folder(path).or_cannot("open", "its folder")
    }

    /// Hides what the layers below have of that name.
    fn hide(&self, folder: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        if self.below.is_empty() {
            return Ok(());
        }
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // The layer's own file of that name hides what is below; its own folder would show it.
            Ok(about) if FileType::from_raw_mode(about.st_mode) == FileType::Directory => {
                mark_opaque(open_at(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd())
            }
            Ok(_) => Ok(()),
            Err(_) => rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
                .or_cannot("make", "the whiteout"),
        }
    }

    fn hide_all(&self, folder: &Path) -> Result<()> {
        if self.below.is_empty() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        mark_opaque(self.root.open(folder, flags).or_cannot("open", "its folder")?.as_fd())
    }

    fn finish_folder(&mut self, path: PathBuf, folder: BorrowedFd<'_>, facts: &Facts) -> Result<()> {
        facts.give(folder)?;
        self.folders.insert(path, facts.modified);
        Ok(())
    }

    fn finish(self) -> Result<()> {
        for (path, modified) in self.folders.iter().rev() {
            // One that became a file later has the file's time.
            if let Ok(folder) = self.root.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                set_times(folder.as_fd(), *modified)?;
            }
        }
        Ok(())
    }
}

/// What was in the place of something that is put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Nothing,
    Folder,
    Whiteout,
}

impl Facts {
    /// Those that the archive says.
    fn read(entry: &mut Entry<'_, impl Read>) -> Result<Self> {
        let number = |value: io::Result<u64>, what: &str| -> Result<u32> {
            let value = value.or_cannot("read", format_args!("its {what}"))?;
            u32::try_from(value).map_err(|_| format!("it is {value}")).or_cannot("set", format_args!("its {what}"))
        };
        let header = entry.header();
        let mode = header.mode().or_cannot("read", "its mode")? & 0o7777;
        let owner = (number(header.uid(), "owner")?, number(header.gid(), "group")?);
        let mut modified = Timespec { tv_sec: header.mtime().unwrap_or(0) as i64, tv_nsec: 0 };
        let mut attributes = Vec::new();
        for extension in entry.pax_extensions().or_cannot("read", "its header")?.into_iter().flatten() {
            let extension = extension.or_cannot("read", "its header")?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            if key == b"mtime" {
                modified = std::str::from_utf8(value).ok().and_then(time).unwrap_or(modified);
            } else if key.starts_with(b"GNU.sparse.") {
                return refused("it is a sparse file as only GNU tar writes it");
            } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                let shown = printable(OsStr::from_bytes(name));
                match attribute(name) {
                    Attribute::Kept => attributes.push((shown, value.to_owned())),
                    Attribute::Dropped => (),
                    Attribute::Overlays => return refused(format!("its attribute {shown} speaks to overlay")),
                }
            }
        }
        Ok(Self { mode, owner, modified, attributes })
    }

    /// Those of a file of ours.
    fn of(file: BorrowedFd<'_>, about: &Stat) -> Result<Self> {
        let modified = Timespec { tv_sec: about.st_mtime, tv_nsec: about.st_mtime_nsec as _ };
        let attributes = super::pack::attributes(file, "a file below")?;
        Ok(Self { mode: about.st_mode & 0o7777, owner: (about.st_uid, about.st_gid), modified, attributes })
    }

    /// Gives them to an open file, but for its time. The owner first: its change takes capabilities and set-user-ID bits.
    fn give(&self, file: BorrowedFd<'_>) -> Result<()> {
        let (user, group) = self.owner;
        rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
            .or_cannot("set", "its owner")?;
        for (name, value) in &self.attributes {
            rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty())
                .or_cannot("set", format_args!("its attribute {name}"))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).or_cannot("set", "its mode")
    }

    /// Gives owner and time to what cannot be opened.
    fn give_name(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::chownat(folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .or_cannot("set", "its owner")?;
        let times = Timestamps { last_access: self.modified, last_modification: self.modified };
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW).or_cannot("set", "its time")
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::new("accept", "it", why.into()))
}

/// A path of an archive as one below the layer's root; empty is the root itself.
fn inside(path: &[u8]) -> Result<PathBuf> {
    let mut inside = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => (),
            Component::ParentDir | Component::Prefix(_) => {
                return refused("a path with .. could lead out of the layer");
            }
        }
    }
    Ok(inside)
}

fn device(entry: &Entry<'_, impl Read>, kind: EntryType) -> Result<rustix::fs::Dev> {
    if kind == EntryType::Fifo {
        return Ok(0);
    }
    let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
    let (major, minor) = (number(entry.header().device_major()), number(entry.header().device_minor()));
    if kind != EntryType::Char || !HARMLESS_DEVICES.contains(&(major, minor)) {
        return refused(format!("it is the device {major}:{minor}, which no image needs"));
    }
    Ok(rustix::fs::makedev(major, minor))
}

fn is_whiteout(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice && about.st_rdev == 0
}

fn mark_opaque(folder: BorrowedFd<'_>) -> Result<()> {
    let (name, value) = OPAQUE_ATTRIBUTE;
    rustix::fs::fsetxattr(folder, name, value, XattrFlags::empty()).or_cannot("make opaque", "its folder")
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).or_cannot("open", path.display())
}

fn open_at(folder: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).or_cannot("make", "it")
}

fn set_times(file: BorrowedFd<'_>, modified: Timespec) -> Result<()> {
    let times = Timestamps { last_access: modified, last_modification: modified };
    rustix::fs::futimens(file, &times).or_cannot("set", "its time")
}

/// Writes what is read; whole blocks of zeros are passed over, and so are holes.
fn write_sparsely(from: &mut impl Read, to: &File) -> Result<()> {
    let mut buffer = vec![0; 32 * BLOCK];
    let mut at = 0;
    loop {
        let length = fill(from, &mut buffer).or_cannot("read", "its content")?;
        for block in buffer[..length].chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                to.write_all_at(block, at).or_cannot("write", "it")?;
            }
            at += block.len() as u64;
        }
        if length < buffer.len() {
            return to.set_len(at).or_cannot("write", "it");
        }
    }
}

/// Reads until the buffer is full or nothing is left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Seconds with a fraction, as PAX writes a time: `1700000000.25`, `-1.5`.
fn time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    // Before 1970 the fraction counts backwards.
    if seconds.starts_with('-') && nanoseconds > 0 {
        return Some(Timespec { tv_sec: whole.checked_sub(1)?, tv_nsec: (1_000_000_000 - nanoseconds) as _ });
    }
    Some(Timespec { tv_sec: whole, tv_nsec: nanoseconds as _ })
}

/// Reads zstd's frames one after the other; there may be several, and some that are to be passed over.
pub struct Zstd<R: Read> {
    decoder: ruzstd::decoding::FrameDecoder,
    source: io::BufReader<R>,
    is_in_frame: bool,
}

impl<R: Read> Zstd<R> {
    /// Around compressed bytes.
    pub fn new(source: R) -> Self {
        let decoder = ruzstd::decoding::FrameDecoder::new();
        Self { decoder, source: io::BufReader::new(source), is_in_frame: false }
    }

    /// Begins the next frame; there may be none.
    fn next_frame(&mut self) -> io::Result<bool> {
        use io::BufRead;
        use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.is_in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy;
        loop {
            if self.is_in_frame {
                while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                    let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                    let decoded = self.decoder.decode_blocks(&mut self.source, some);
                    decoded.map_err(|error| io::Error::other(error.to_string()))?;
                }
                let length = self.decoder.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
                self.is_in_frame = false;
            }
            if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

/// Throws away what is read, so that all of it was read.
///
/// # Errors
/// The reader's own.
pub fn drain(reader: &mut impl Read, most: u64) -> io::Result<()> {
    let read = io::copy(&mut reader.take(most), &mut io::sink())?;
    if read == most { Err(io::Error::other("it has no end")) } else { io::sink().flush() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_an_archive_stays_in_the_layer() {
        for (path, there) in [("./etc/x", "etc/x"), ("/etc//x/", "etc/x"), ("./", ""), ("", "")] {
            assert_eq!(inside(path.as_bytes()).unwrap(), Path::new(there), "{path}");
        }
        for out in ["..", "../x", "a/../../x", "a/.."] {
            assert!(inside(out.as_bytes()).is_err(), "{out}");
        }
    }

    #[test]
    fn a_time_is_read_to_the_nanosecond_on_both_sides_of_1970() {
        let read = |text| time(text).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(read("12"), Some((12, 0)));
        assert_eq!(read("12.5"), Some((12, 500_000_000)));
        assert_eq!(read("12.1234567891"), Some((12, 123_456_789)));
        assert_eq!(read("-1.25"), Some((-2, 750_000_000)));
        for wrong in ["", "x", "1.x", "1.-5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
