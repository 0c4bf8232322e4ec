//! A layer's folder to an archive that all tools read.
//!
//! The same folder must give the same bytes, or one image would have two digests: names in order, owners as numbers, no
//! access times, and each file as its inode says. What tar's own header cannot say (a name of more than 100 bytes, part
//! of a second, an extended attribute) stands in a PAX header before it. A file with several names is there once and then
//! linked to. Sparse files are written out: the specification advises against tar's ways of saying holes, which not all
//! tools read; compressed, zeros are next to nothing.
//!
//! Look: `tar tvf LAYER --full-time --xattrs`. Sources: image-spec, layer.md; pax(1), "pax Header Block"; tar(5).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::{Entry, FileId, file_id, walk};
use rustix::fs::{FileType, Stat};
use tar::{Builder, EntryType, Header};

use super::watch::Watch;
use super::whiteout::{Attribute, Meaning, OPAQUE, OPAQUE_ATTRIBUTE, PREFIX, attribute, meaning};

/// Extended attributes: names and values.
pub type Attributes = Vec<(String, Vec<u8>)>;

/// Writes all that is in a layer's folder as an archive.
///
/// # Errors
/// Those of reading and writing, with the path; in words when the layer has what no archive can say, or a signal came.
pub fn pack<W: Write>(root: &Path, to: W, watch: &Watch<'_>) -> Result<W> {
    let folder = File::open(root).or_cannot("open", root.display())?;
    let mut packing = Packing { to: Builder::new(to), linked: HashMap::new(), watch };
    let entry = Entry::new(folder.as_fd(), OsStr::new("."), root.display().to_string());
    walk(&entry, &mut |entry, about, path| packing.add(entry, about, path))?;
    packing.to.into_inner().or_cannot("write", "the archive's end")
}

struct Packing<'w, 'a, W: Write> {
    to: Builder<W>,
    /// The first name of a file with several.
    linked: HashMap<FileId, PathBuf>,
    watch: &'w Watch<'a>,
}

impl<W: Write> Packing<'_, '_, W> {
    fn add(&mut self, entry: &Entry<'_>, about: &Stat, path: &Path) -> Result<bool> {
        self.watch.go_on("pack", entry.shown())?;
        let name = path.file_name().unwrap_or_default();
        if meaning(name.as_bytes()) != Meaning::File {
            return Err(Error::new("pack", entry.shown(), "in an archive that name would mean that a file is gone"));
        }
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory => self.add_folder(entry, about, path)?,
            FileType::RegularFile => self.add_file(entry, about, path)?,
            FileType::Symlink => {
                let target = entry.target()?;
                self.write(Item { link: target.as_bytes(), ..Item::new(EntryType::Symlink, about, path) }, entry)?;
            }
            FileType::CharacterDevice if about.st_rdev == 0 => {
                let mut whiteout = PREFIX.to_vec();
                whiteout.extend(name.as_bytes());
                self.mark(&path.with_file_name(OsStr::from_bytes(&whiteout)), entry)?;
            }
            FileType::CharacterDevice => self.write(Item::new(EntryType::Char, about, path), entry)?,
            FileType::BlockDevice => self.write(Item::new(EntryType::Block, about, path), entry)?,
            FileType::Fifo => self.write(Item::new(EntryType::Fifo, about, path), entry)?,
            // A socket is the end of a conversation, and no archive has one.
            _ => (),
        }
        Ok(true)
    }

    fn add_folder(&mut self, entry: &Entry<'_>, about: &Stat, path: &Path) -> Result<()> {
        let (folder, _) = entry.open(FileType::Directory)?;
        let (own, is_opaque) = attributes_of_layer(folder.as_fd(), entry.shown())?;
        self.write(Item { attributes: own, ..Item::new(EntryType::Directory, about, path) }, entry)?;
        if is_opaque {
            self.mark(&path.join(OsStr::from_bytes(OPAQUE)), entry)?;
        }
        Ok(())
    }

    fn add_file(&mut self, entry: &Entry<'_>, about: &Stat, path: &Path) -> Result<()> {
        if about.st_nlink > 1 {
            if let Some(first) = self.linked.get(&file_id(about)).cloned() {
                let link = first.as_os_str().as_bytes();
                return self.write(Item { link, ..Item::new(EntryType::Link, about, path) }, entry);
            }
            self.linked.insert(file_id(about), path.to_owned());
        }
        let (file, about) = entry.open(FileType::RegularFile)?;
        let (own, _) = attributes_of_layer(file.as_fd(), entry.shown())?;
        let size = about.st_size as u64;
        self.write(
            Item { attributes: own, content: Some((file, size)), ..Item::new(EntryType::Regular, &about, path) },
            entry,
        )
    }

    /// A file that only says something by its name: always the same bytes.
    fn mark(&mut self, path: &Path, entry: &Entry<'_>) -> Result<()> {
        let mut header = empty(EntryType::Regular);
        header.set_mode(0);
        self.append(header, Vec::new(), path.as_os_str().as_bytes(), b"", std::io::empty(), entry)
    }

    fn write(&mut self, item: Item<'_>, entry: &Entry<'_>) -> Result<()> {
        let Item { kind, about, path, link, attributes, content } = item;
        let mut header = empty(kind);
        header.set_mode(about.st_mode & 0o7777);
        header.set_uid(about.st_uid.into());
        header.set_gid(about.st_gid.into());
        let (seconds, nanoseconds) = (about.st_mtime, about.st_mtime_nsec as i64);
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        let mut more: Attributes = Vec::new();
        if nanoseconds != 0 || seconds < 0 {
            more.push(("mtime".to_owned(), time(seconds, nanoseconds).into_bytes()));
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let device = (rustix::fs::major(about.st_rdev), rustix::fs::minor(about.st_rdev));
            header.set_device_major(device.0).or_cannot("pack", entry.shown())?;
            header.set_device_minor(device.1).or_cannot("pack", entry.shown())?;
        }
        more.extend(attributes.into_iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value)));
        let mut name = if path.as_os_str().is_empty() { b".".to_vec() } else { path.as_os_str().as_bytes().to_vec() };
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        match content {
            None => self.append(header, more, &name, link, std::io::empty(), entry),
            Some((file, size)) => {
                header.set_size(size);
                let file = self.watch.reader(File::from(file)).take(size);
                self.append(header, more, &name, link, file, entry)
            }
        }
    }

    fn append(
        &mut self,
        mut header: Header,
        mut more: Attributes,
        path: &[u8],
        link: &[u8],
        content: impl Read,
        entry: &Entry<'_>,
    ) -> Result<()> {
        for (key, value) in [("path", path), ("linkpath", link)] {
            let field = match key {
                "path" => &mut header.as_old_mut().name,
                _ => &mut header.as_old_mut().linkname,
            };
            let fits = value.len().min(field.len());
            field[..fits].copy_from_slice(&value[..fits]);
            if fits < value.len() {
                more.push((key.to_owned(), value.to_vec()));
            }
        }
        more.sort();
        let extensions = more.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        if !more.is_empty() {
            self.to.append_pax_extensions(extensions).or_cannot("pack", entry.shown())?;
        }
        header.set_cksum();
        let size = header.size().unwrap_or(0);
        let mut content = Counted { inner: content, bytes: 0 };
        self.to.append(&header, &mut content).or_cannot("pack", entry.shown())?;
        if content.bytes != size {
            return Err(Error::new("pack", entry.shown(), "it changes while it is read"));
        }
        Ok(())
    }
}

/// A header whose numbers are all there: nobody's, of no size, of 1970.
fn empty(kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    header
}

/// What is written of a file.
struct Item<'a> {
    kind: EntryType,
    about: &'a Stat,
    path: &'a Path,
    link: &'a [u8],
    attributes: Attributes,
    content: Option<(OwnedFd, u64)>,
}

impl<'a> Item<'a> {
    fn new(kind: EntryType, about: &'a Stat, path: &'a Path) -> Self {
        Self { kind, about, path, link: b"", attributes: Vec::new(), content: None }
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// A file's own extended attributes, and whether it is an opaque folder of an overlay.
fn attributes_of_layer(file: BorrowedFd<'_>, shown: &str) -> Result<(Attributes, bool)> {
    let (mut own, mut is_opaque) = (Vec::new(), false);
    for (name, value) in all_attributes(file, shown)? {
        match attribute(name.as_bytes()) {
            Attribute::Kept => own.push((name, value)),
            Attribute::Dropped => (),
            Attribute::Overlays if name == OPAQUE_ATTRIBUTE.0 => is_opaque = value == OPAQUE_ATTRIBUTE.1,
            // The rest of it is in another layer, or under another name.
            Attribute::Overlays if name.ends_with(".redirect") || name.ends_with(".metacopy") => {
                let why = "overlay noted in it that it was renamed or half copied, which an archive cannot say";
                let refused = Error::new("pack", shown, why);
                return Err(refused.hint("see redirect_dir and metacopy in /sys/module/overlay/parameters"));
            }
            Attribute::Overlays => (),
        }
    }
    Ok((own, is_opaque))
}

/// A file's own extended attributes, in order.
///
/// # Errors
/// Those of listxattr(2) and getxattr(2).
pub fn attributes(file: BorrowedFd<'_>, shown: &str) -> Result<Attributes> {
    let all = all_attributes(file, shown)?.into_iter();
    Ok(all.filter(|(name, _)| attribute(name.as_bytes()) == Attribute::Kept).collect())
}

fn all_attributes(file: BorrowedFd<'_>, shown: &str) -> Result<Attributes> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut list[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        listed => listed.or_cannot("list the attributes of", shown)?,
    };
    let mut all = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..]).or_cannot("read an attribute of", shown)?;
        value.truncate(length);
        all.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    all.sort();
    Ok(all)
}

/// A time as PAX writes it, in seconds with a fraction.
fn time(seconds: i64, nanoseconds: i64) -> String {
    // The kernel counts the fraction forwards, and PAX from zero.
    let (seconds, nanoseconds, sign) = match (seconds < 0, nanoseconds) {
        (true, 0) => (seconds.unsigned_abs(), 0, "-"),
        (true, nanoseconds) => ((seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds, "-"),
        (false, nanoseconds) => (seconds.unsigned_abs(), nanoseconds, ""),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_pax_has_them() {
        assert_eq!(time(12, 500_000_000), "12.5");
        assert_eq!(time(12, 0), "12");
        assert_eq!(time(-2, 750_000_000), "-1.25");
        assert_eq!(time(-1, 500_000_000), "-0.5");
        assert_eq!(time(-10, 0), "-10");
    }
}
