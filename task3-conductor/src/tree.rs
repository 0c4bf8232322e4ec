//! File trees copied from one root into another, by descriptor.
//!
//! One of the two belongs to a container, and what runs there can change it while it is being copied: a folder becomes a
//! link to the host's /etc just after it was looked at (CVE-2018-15664). So nothing here is opened by a joined path. A
//! path that somebody typed is looked up by openat2(2), in a container with `RESOLVE_IN_ROOT`, which takes its root for
//! `/`; from there on each name is opened in the descriptor of its folder, with `O_NOFOLLOW`, and what was opened is what
//! is looked at and copied.
//!
//! Look: `strace -e openat2,openat,fstat conductor cp web:/etc/passwd .`. Manual: openat2(2), path_resolution(7), lseek(2)
//! for `SEEK_DATA`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::step;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, StatxFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};

/// A file tree that paths are looked up in.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    resolve: ResolveFlags,
    /// What comes before a path when it is told, such as `web:`.
    shown: String,
}

/// How much of a file is copied besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// Modes and times. The copy belongs to the caller; a set-user-ID bit would make somebody's file a program with root's
    /// rights, and a device is no content: both are left out.
    Contents,
    /// All: owners, set-user-ID bits, attributes, devices (overlay's whiteouts are some), hard links.
    Everything,
}

/// Permissions that are kept with [`Fidelity::Contents`].
const HARMLESS: u32 = 0o1777;
/// Name of a file that is being written; afterwards it gets its own.
const UNFINISHED: &str = ".conductor-unfinished";

impl Root {
    /// The host's own tree.
    ///
    /// # Errors
    /// None that a host could cause.
    pub fn of_the_host() -> Result<Self> {
        let folder = File::open("/").or_cannot("open", "/")?.into();
        Ok(Self { folder, resolve: ResolveFlags::empty(), shown: String::new() })
    }

    /// The tree below an open folder, out of which no link leads.
    pub fn below(folder: OwnedFd, shown: String) -> Self {
        Self { folder, resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS, shown }
    }

    fn shown(&self, path: &Path) -> String {
        let path = path.to_string_lossy();
        format!("{}{}", self.shown, printable(OsStr::new(path.strip_suffix("/.").unwrap_or(&path))))
    }

    /// Opens a path; links on the way are followed within the tree.
    fn open(&self, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match rustix::fs::openat2(&self.folder, path, flags | OFlags::CLOEXEC, Mode::empty(), self.resolve) {
                // Something was renamed while the kernel was on its way: openat2(2) asks to try again.
                Err(rustix::io::Errno::AGAIN) => (),
                opened => return opened.map_err(|errno| Errno::from_raw(errno.raw_os_error())),
            }
        }
    }

    fn folder(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY).or_cannot("open the folder", self.shown(path))
    }
}

/// Copies what is at `from` in one root to `to` in another, as cp(1) does: into `to` when that is a folder, else as `to`. What
/// is in a folder goes into the folder `to` when `from` ends with `/.`.
///
/// Returns what could not be copied, one line each; the rest was.
///
/// # Errors
/// `ENOENT` when `from`, or the folder above `to`, is not there; `ENOTDIR` for a folder onto a file; `ENOSPC` ….
pub fn copy(source: &Root, from: &Path, target: &Root, to: &Path) -> Result<Vec<String>> {
    let (from_text, to_text) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    let only_what_is_in_it = from_text.ends_with(b"/.") || from_text == b".";
    // A path that ends in `/` or `..`, or is the root, has no name of its own: the folder itself is opened then.
    let name = from.file_name().filter(|_| !only_what_is_in_it && !from_text.ends_with(b"/"));
    let (above, name) = match name {
        Some(name) => (source.folder(from.parent().unwrap_or(Path::new("/")))?, name),
        None => (source.folder(from)?, OsStr::new(".")),
    };
    let entry = Entry { folder: above.as_fd(), name, shown: source.shown(from) };
    let kind = entry.look()?.kind();
    let own_name = from.file_name().filter(|_| !only_what_is_in_it);

    let there = match target.open(to, OFlags::PATH) {
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
    let mut copying = Copying::new(Fidelity::Contents, None);
    match (there, own_name) {
        (Some(found), Some(name)) if there_is_folder => {
            copying.copy(
                &entry,
                Spot { folder: found.as_fd(), name, path: PathBuf::new(), shown: target.shown(&to.join(name)) },
            )?;
        }
        (Some(found), None) if there_is_folder => {
            copying.fill(&entry, found.as_fd(), false, &PathBuf::new(), &target.shown(to))?
        }
        (there, _) => {
            if to_text.ends_with(b"/") && kind != FileType::Directory || there.is_some() && kind == FileType::Directory
            {
                let errno = if there.is_some() { Errno::ENOTDIR } else { Errno::ENOENT };
                return Err(errno).or_cannot(format_args!("copy {} to", entry.shown), target.shown(to));
            }
            let above = target.folder(to.parent().unwrap_or(Path::new("/")))?;
            let name = to.file_name().ok_or(Errno::EISDIR).or_cannot("copy to", target.shown(to))?;
            copying
                .copy(&entry, Spot { folder: above.as_fd(), name, path: PathBuf::new(), shown: target.shown(to) })?;
        }
    }
    Ok(copying.left_out)
}

/// Copies all that is in one folder into another, an empty one that nobody else writes to, with everything that files have.
///
/// # Errors
/// `ENOSPC`, `EIO` ….
pub fn copy_everything(from: &Path, to: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open =
        |path: &Path| rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).or_cannot("open", path.display());
    let (source, target) = (open(from)?, open(to)?);
    let entry = Entry { folder: source.as_fd(), name: OsStr::new("."), shown: from.display().to_string() };
    let root = target.try_clone().or_cannot("open", to.display())?;
    let mut copying = Copying::new(Fidelity::Everything, Some(root));
    copying.fill(&entry, target.as_fd(), true, Path::new(""), &to.display().to_string())?;
    match copying.left_out.first() {
        Some(first) => Err(Error::new("copy all of", from.display(), first.as_str())),
        None => Ok(()),
    }
}

/// A name in an open folder.
struct Entry<'a> {
    folder: BorrowedFd<'a>,
    name: &'a OsStr,
    shown: String,
}

/// Where a copy goes: a name in an open folder.
struct Spot<'a> {
    folder: BorrowedFd<'a>,
    name: &'a OsStr,
    /// From the folder that the whole copy goes into.
    path: PathBuf,
    shown: String,
}

struct Copying {
    fidelity: Fidelity,
    left_out: Vec<String>,
    /// Where the copy of a file with several names is, from the folder that all goes into.
    linked: HashMap<(u64, u64), PathBuf>,
    root: Option<OwnedFd>,
    /// The first folder that is copied into, which could be met again below the one that is copied.
    goal: Option<(u64, u64)>,
}

trait Kind {
    fn kind(&self) -> FileType;
}

impl Kind for Stat {
    fn kind(&self) -> FileType {
        kind_of(self)
    }
}

fn kind_of(about: &Stat) -> FileType {
    FileType::from_raw_mode(about.st_mode)
}

impl Entry<'_> {
    fn look(&self) -> Result<Stat> {
        rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW).or_cannot("look at", &self.shown)
    }

    /// Opens it, if it still is of that kind.
    fn open(&self, kind: FileType) -> Result<(OwnedFd, Stat)> {
        // NONBLOCK: should it have become a named pipe by now, nobody has to come to its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.folder, self.name, flags, Mode::empty()).or_cannot("read", &self.shown)?;
        let about = rustix::fs::fstat(&opened).or_cannot("look at", &self.shown)?;
        if about.kind() != kind {
            return Err(Error::new("copy", &self.shown, "it was another kind of file a moment ago"));
        }
        Ok((opened, about))
    }
}

impl Copying {
    fn new(fidelity: Fidelity, root: Option<OwnedFd>) -> Self {
        Self { fidelity, left_out: Vec::new(), linked: HashMap::new(), root, goal: None }
    }

    fn copy(&mut self, entry: &Entry<'_>, spot: Spot<'_>) -> Result<()> {
        let about = entry.look()?;
        match about.kind() {
            FileType::Directory => {
                let is_new = match rustix::fs::mkdirat(spot.folder, spot.name, Mode::RWXU) {
                    Ok(()) => true,
                    Err(rustix::io::Errno::EXIST) => false,
                    Err(errno) => return Err(errno).or_cannot("make the folder", &spot.shown),
                };
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = rustix::fs::openat(spot.folder, spot.name, flags, Mode::empty());
                let folder = folder.or_cannot("copy a folder to", &spot.shown)?;
                self.fill(entry, folder.as_fd(), is_new, &spot.path, &spot.shown)
            }
            FileType::RegularFile => self.copy_file(entry, &about, &spot),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(entry.folder, entry.name, Vec::new()).or_cannot("read", &entry.shown)?;
                self.place(&spot, |name| rustix::fs::symlinkat(&target, spot.folder, name))?;
                self.own(&spot, &about)
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo
                if self.fidelity == Fidelity::Everything =>
            {
                let mode = Mode::from_raw_mode(about.st_mode & 0o7777);
                self.place(&spot, |name| rustix::fs::mknodat(spot.folder, name, about.kind(), mode, about.st_rdev))?;
                self.own(&spot, &about)
            }
            // Who listened there listens no more when it is copied.
            FileType::Socket if self.fidelity == Fidelity::Everything => Ok(()),
            kind => {
                let error = Error::new("copy", &entry.shown, format!("it is {}, which has no content", name_of(kind)));
                self.left_out.push(line(&error));
                Ok(())
            }
        }
    }

    /// Copies what is in a folder into another. A new one then gets its mode; one that was there keeps its own.
    fn fill(&mut self, entry: &Entry<'_>, to: BorrowedFd<'_>, is_new: bool, path: &Path, shown: &str) -> Result<()> {
        let (folder, about) = entry.open(FileType::Directory)?;
        let to_itself = rustix::fs::fstat(to).or_cannot("look at", shown)?;
        let goal = *self.goal.get_or_insert((to_itself.st_dev, to_itself.st_ino));
        if (about.st_dev, about.st_ino) == goal {
            self.left_out.push(line(&Error::new("copy", &entry.shown, "it is where the copy goes")));
            return Ok(());
        }
        if self.fidelity == Fidelity::Contents && is_the_kernels(folder.as_fd()) {
            let reason = "what is there is made by the kernel when it is read";
            self.left_out.push(line(&Error::new("copy", &entry.shown, reason)));
            return Ok(());
        }
        step!("copy.folder",
            call: "openat({}, O_NOFOLLOW); getdents64; each name: openat(folder, name, O_NOFOLLOW)", entry.shown;
            why: "what is open is what is copied, and no link leads out of either tree";
            shell: "cp -r --no-dereference {}/. {shown}", entry.shown);
        for name in names(&folder, &entry.shown)? {
            let plain = printable(&name);
            let entry = Entry { folder: folder.as_fd(), name: &name, shown: format!("{}/{plain}", entry.shown) };
            let spot = Spot { folder: to, name: &name, path: path.join(&name), shown: format!("{shown}/{plain}") };
            self.copy(&entry, spot)?;
        }
        if is_new { self.finish(folder.as_fd(), &about, to, shown) } else { Ok(()) }
    }

    fn copy_file(&mut self, entry: &Entry<'_>, about: &Stat, spot: &Spot<'_>) -> Result<()> {
        let identity = (about.st_dev, about.st_ino);
        let has_several_names = self.fidelity == Fidelity::Everything && about.st_nlink > 1;
        if let (Some(first), Some(root), true) = (self.linked.get(&identity), &self.root, has_several_names) {
            let linked = rustix::fs::linkat(root, first, spot.folder, spot.name, AtFlags::empty());
            return linked.or_cannot("make the link", &spot.shown);
        }
        let (original, about) = entry.open(FileType::RegularFile)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut original = File::from(original);
        self.place(spot, |name| {
            let mut copy = File::from(rustix::fs::openat(spot.folder, name, flags, Mode::RUSR | Mode::WUSR)?);
            let written = write_sparsely(&mut original, &mut copy, about.st_size as u64);
            written.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
            Ok(())
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(spot.folder, spot.name, flags, Mode::empty()).or_cannot("open", &spot.shown)?;
        if has_several_names {
            self.linked.insert(identity, spot.path.clone());
        }
        self.finish(original.as_fd(), &about, copy.as_fd(), &spot.shown)
    }

    /// Makes something beside its place and then puts it there, over a file or link that may be there.
    fn place(&self, spot: &Spot<'_>, make: impl FnOnce(&OsStr) -> rustix::io::Result<()>) -> Result<()> {
        // The kernel would take a mount away with the name that it is on, if it is in another mount namespace than ours.
        let mount_of = |name: &OsStr, flags| {
            rustix::fs::statx(spot.folder, name, flags, StatxFlags::MNT_ID).map(|about| about.stx_mnt_id)
        };
        let there = mount_of(spot.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if there.is_some() && there != mount_of(OsStr::new(""), AtFlags::EMPTY_PATH).ok() {
            return Err(Errno::EBUSY).or_cannot("replace", &spot.shown).map_err(|error| {
                error.hint("something is mounted there, such as a volume: change it where it comes from")
            });
        }
        let unfinished = OsString::from(format!("{UNFINISHED}-{}", std::process::id()));
        let made = make(&unfinished)
            .and_then(|()| rustix::fs::renameat(spot.folder, &unfinished, spot.folder, spot.name))
            .or_cannot("write", &spot.shown);
        if made.is_err() {
            let _ = rustix::fs::unlinkat(spot.folder, &unfinished, AtFlags::empty());
        }
        made
    }

    /// The owner of what cannot be opened.
    fn own(&self, spot: &Spot<'_>, about: &Stat) -> Result<()> {
        if self.fidelity == Fidelity::Contents {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
        rustix::fs::chownat(spot.folder, spot.name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .or_cannot("set the owner of", &spot.shown)
    }

    /// Gives a copy what the original has besides its content.
    fn finish(&self, original: BorrowedFd<'_>, about: &Stat, copy: BorrowedFd<'_>, shown: &str) -> Result<()> {
        let mut kept = HARMLESS;
        if self.fidelity == Fidelity::Everything {
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

/// Copies the parts of a file that hold something; where there is nothing, the copy has a hole as well. See lseek(2).
fn write_sparsely(original: &mut File, copy: &mut File, size: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&*original, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole until the end.
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that does not tell (the kernel's own): all of it.
            Err(_) if at == 0 => {
                original.rewind()?;
                return io::copy(original, copy).map(drop);
            }
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(&*original, SeekFrom::Hole(start))?;
        original.seek(io::SeekFrom::Start(start))?;
        copy.seek(io::SeekFrom::Start(start))?;
        io::copy(&mut (&*original).take(end - start), copy)?;
        at = end;
    }
    // A file of /proc says that it has none, and has something to say.
    if size == 0 {
        original.rewind()?;
        return io::copy(original, copy).map(drop);
    }
    copy.set_len(size.max(at))
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

/// A name as it can be told: what a terminal would obey is escaped.
pub fn printable(name: &OsStr) -> String {
    name.to_string_lossy().chars().flat_map(|letter| letter.escape_debug().collect::<Vec<_>>()).collect()
}

fn names(folder: &OwnedFd, shown: &str) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).or_cannot("list", shown)? {
        let entry = entry.or_cannot("list", shown)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// File systems of statfs(2) that hold no files but the kernel's answers.
const OF_THE_KERNEL: [i64; 5] = [
    // proc, sysfs, cgroup2, devpts, mqueue
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
];

fn is_the_kernels(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(folder).is_ok_and(|about| OF_THE_KERNEL.contains(&about.f_type))
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no file",
    }
}
