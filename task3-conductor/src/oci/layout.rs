//! An image layout for reading: a folder, or a tar archive of one, or what `docker save` wrote.
//!
//! Files are small or blobs: `index.json`, and `blobs/sha256/HEX`. Of a folder they are opened below a descriptor of it, where
//! no link leads out; of an archive a table of places is made first, as blobs are wanted in another order than
//! they stand in. What somebody else wrote is measured before it is read: no JSON may be longer than 4 MiB.
//!
//! Look: `tar tvf FILE`. Source: image-spec, image-layout.md.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::Root;
use rustix::fs::OFlags;
use tar::EntryType;

use super::digest::{Digest, Hashing};
use super::watch::Watch;
use crate::output::escape::escaped;

/// Longest JSON that is read: a registry's limit for manifests.
pub const LARGEST_JSON: u64 = 4 << 20;
/// Files of an archive: ten for each layer would be many.
const MOST_FILES: usize = 10_000;
/// Headers of an archive, all together.
const MOST_HEADERS: u64 = 64 << 20;

/// Where files of a layout are read from.
#[derive(Debug)]
pub struct Layout {
    /// As errors call it.
    shown: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(Root),
    Archive { file: File, parts: BTreeMap<String, Part> },
}

/// Where a file of an archive is.
#[derive(Debug, Clone)]
enum Part {
    At { offset: u64, size: u64 },
    Link(String),
}

impl Layout {
    /// Opens a folder or an archive.
    ///
    /// # Errors
    /// `ENOENT` … with the path; in words when it is neither.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let file = File::open(path).or_cannot("read", &shown)?;
        let about = file.metadata().or_cannot("look at", &shown)?;
        let place = if about.is_dir() {
            Place::Folder(Root::without_links(file.into()))
        } else if about.is_file() {
            let parts = table(&file, about.size()).or_cannot("read the archive", &shown)?;
            Place::Archive { file, parts }
        } else {
            let neither = Error::new("read an image from", &shown, "it is neither a file nor a folder");
            return Err(neither.hint("an archive is read back and forth: write it to a file first"));
        };
        Ok(Self { shown, place })
    }

    /// As errors call it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The file `name`, and its size; none when there is none.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn file(&self, name: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        let shown = || format!("{}/{}", self.shown, escaped(name));
        match &self.place {
            Place::Folder(root) => {
                // NONBLOCK: nobody has to come to the other end of a named pipe.
                let opened = match root.open(Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK) {
                    Err(nix::errno::Errno::ENOENT) => return Ok(None),
                    opened => File::from(opened.or_cannot("read", shown())?),
                };
                let about = opened.metadata().or_cannot("look at", shown())?;
                if !about.is_file() {
                    return Err(Error::new("read", shown(), "it is no file"));
                }
                Ok(Some((Box::new(opened), about.size())))
            }
            Place::Archive { file, parts } => {
                let part = match parts.get(name) {
                    Some(Part::Link(target)) => parts.get(target),
                    part => part,
                };
                let Some(Part::At { offset, size }) = part else { return Ok(None) };
                Ok(Some((Box::new(Window { file, at: *offset, end: offset + size }), *size)))
            }
        }
    }

    /// All of a file that holds JSON; none when there is none.
    ///
    /// # Errors
    /// In words when it is too long for that; those of read(2).
    pub fn json(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some((reader, size)) = self.file(name)? else { return Ok(None) };
        let shown = format!("{}/{}", self.shown, escaped(name));
        refuse_long(&shown, size)?;
        let mut text = Vec::new();
        reader.take(LARGEST_JSON).read_to_end(&mut text).or_cannot("read", shown)?;
        Ok(Some(text))
    }

    /// The blob of a digest, which holds JSON: it has the size and the digest that a descriptor says.
    ///
    /// # Errors
    /// In words when it is not there, or another than was promised.
    pub fn json_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        refuse_long(&digest.to_string(), size)?;
        let text = self.json(&blob_path(digest))?.ok_or_else(|| self.no_blob(digest))?;
        self.compare(digest, size, &Digest::of(&text), text.len() as u64)?;
        Ok(text)
    }

    /// Reads a blob once, to know that it has the size and the digest that a descriptor says.
    ///
    /// # Errors
    /// In words when it is not there, or another than was promised.
    pub fn check_blob(&self, digest: &Digest, size: u64, watch: &Watch<'_>) -> Result<()> {
        let (reader, there) = self.file(&blob_path(digest))?.ok_or_else(|| self.no_blob(digest))?;
        if there != size {
            return self.compare(digest, size, digest, there);
        }
        let mut reader = Hashing::new(watch.reader(reader));
        io::copy(&mut reader, &mut io::sink()).or_cannot("read", digest)?;
        let (_, found, bytes) = reader.finish();
        self.compare(digest, size, &found, bytes)
    }

    fn compare(&self, digest: &Digest, size: u64, found: &Digest, bytes: u64) -> Result<()> {
        let wrong = |why: String| {
            let wrong = Error::new("use", format_args!("{digest} of {}", self.shown), why);
            Err(wrong.hint("the image was damaged or changed on its way: fetch it again"))
        };
        if bytes != size {
            return wrong(format!("it has {bytes} bytes, and {size} were promised"));
        }
        if found != digest {
            return wrong(format!("its content has the digest {found}"));
        }
        Ok(())
    }

    fn no_blob(&self, digest: &Digest) -> Error {
        Error::new("read", format_args!("{digest} of {}", self.shown), "it is not there")
            .hint("the image was not copied whole: fetch it again")
    }
}

/// Where the blob of a digest is.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn refuse_long(shown: &str, size: u64) -> Result<()> {
    if size > LARGEST_JSON {
        return Err(Error::new(
            "read",
            shown,
            format!("it has {size} bytes, and JSON of an image at most {LARGEST_JSON}"),
        ));
    }
    Ok(())
}

/// A part of a file.
struct Window<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Only headers are read of an archive, and content is passed over; so much of them and no more.
struct Headers<'a> {
    file: &'a File,
    left: u64,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| io::Error::other("its headers have no end"))?;
        Ok(length)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Which files an archive has, and where.
fn table(file: &File, length: u64) -> io::Result<BTreeMap<String, Part>> {
    let mut start = [0; 4];
    let read = file.read_at(&mut start, 0)?;
    match &start[..read] {
        [0x1f, 0x8b, ..] => return Err(io::Error::other("it is compressed as a whole: gunzip it first")),
        [0x28, 0xb5, 0x2f, 0xfd] => return Err(io::Error::other("it is compressed as a whole: unzstd it first")),
        _ => (),
    }
    let mut parts = BTreeMap::new();
    let mut archive = tar::Archive::new(Headers { file, left: MOST_HEADERS });
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(name) = std::str::from_utf8(&entry.path_bytes()).ok().and_then(|name| plain(Path::new(name))) else {
            continue;
        };
        let part = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(io::Error::other(format!("it ends in the middle of {}", escaped(&name))));
                }
                Part::At { offset, size }
            }
            // Older archives of Docker have a layer once, and links to it.
            EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default();
                let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
                let Some(target) = plain(&folder.join(target)) else { continue };
                Part::Link(target)
            }
            _ => continue,
        };
        parts.insert(name, part);
        if parts.len() > MOST_FILES {
            return Err(io::Error::other(format!("it has more than {MOST_FILES} files")));
        }
    }
    Ok(parts)
}

/// A path without `.` and `..`; none when it leads out.
fn plain(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => (),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}
