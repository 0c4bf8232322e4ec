//! An image layout for writing: a folder, or a tar archive of one.
//!
//! A blob's name is the hash of what is in it, so it is known last. In a folder the blob is written under another name and
//! renamed. In an archive its header is left empty, and filled in when the blob is whole; so nothing is written twice. All
//! of it is made beside its place and renamed at the end: an image is there whole or not at all.
//!
//! Look: `tar tvf FILE`. Source: image-spec, image-layout.md.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::remove_tree;
use tar::{EntryType, Header};

use super::digest::{Digest, Hashing};
use super::layout::blob_path;

/// Length of a header of tar, and of what content is padded to.
const RECORD: u64 = 512;

/// A layout that is being written; removed when dropped, unless it was [finished](Sink::finish).
#[derive(Debug)]
pub struct Sink {
    place: PathBuf,
    beside: PathBuf,
    kind: Kind,
    is_finished: bool,
}

#[derive(Debug)]
enum Kind {
    Folder,
    Archive { file: File, names: Vec<String> },
}

/// A blob that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Sink {
    /// A layout to be at `place`: a folder if it ends in `/` or is an empty one, an archive otherwise.
    ///
    /// # Errors
    /// In words when something is there that must not be replaced; `ENOENT`, `EACCES` … with the path.
    pub fn create(place: &Path) -> Result<Self> {
        let shown = place.display().to_string();
        let shown = shown.as_str();
        let is_folder = place.is_dir() || place.as_os_str().as_encoded_bytes().ends_with(b"/");
        let about = fs::metadata(place).ok();
        if about.as_ref().is_some_and(|about| !about.is_dir() && !about.is_file()) {
            let special = Error::new("write an image to", shown, "it is neither a file nor a folder");
            return Err(special.hint("an archive is written back and forth: write it to a file first"));
        }
        let is_used = |mut entries: fs::ReadDir| entries.next().is_some();
        if is_folder && fs::read_dir(place).is_ok_and(is_used) {
            return Err(Error::new("write an image to", shown, "the folder is not empty").hint("choose another"));
        }
        let name = place.file_name().ok_or_else(|| Error::new("write an image to", shown, "it has no name"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let beside = place.with_file_name(hidden);
        let kind = if is_folder {
            fs::create_dir(&beside).or_cannot("make folder", shown)?;
            Kind::Folder
        } else {
            let file = File::options().read(true).write(true).create_new(true).open(&beside);
            Kind::Archive { file: file.or_cannot("write", shown)?, names: Vec::new() }
        };
        let mut sink = Self { place: place.components().collect(), beside, kind, is_finished: false };
        for folder in ["blobs", "blobs/sha256"] {
            sink.folder(folder)?;
        }
        Ok(sink)
    }

    /// Writes a file of this name.
    ///
    /// # Errors
    /// `ENOSPC` … with the path.
    pub fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let shown = self.shown();
        match &mut self.kind {
            Kind::Folder => fs::write(self.beside.join(name), content).or_cannot("write", shown),
            Kind::Archive { file, names } => {
                names.push(name.to_owned());
                let begun = begin(file);
                begun
                    .and_then(|at| file.write_all(content).and_then(|()| end(file, at, name)))
                    .or_cannot("write", shown)
            }
        }
    }

    /// Writes a blob by what `write` writes; one that is there already is not there twice.
    ///
    /// # Errors
    /// Those of `write`; `ENOSPC` … with the path.
    pub fn blob<T>(&mut self, write: impl FnOnce(&mut Hashing<File>) -> Result<T>) -> Result<(Blob, T)> {
        let shown = self.shown();
        match &mut self.kind {
            Kind::Folder => {
                let unfinished = self.beside.join("blobs/sha256/unfinished");
                let mut to = Hashing::new(File::create(&unfinished).or_cannot("write", &shown)?);
                let more = write(&mut to)?;
                let (_, digest, size) = to.finish();
                fs::rename(&unfinished, self.beside.join(blob_path(&digest))).or_cannot("write", shown)?;
                Ok((Blob { digest, size }, more))
            }
            Kind::Archive { file, names } => {
                let at = begin(file).or_cannot("write", &shown)?;
                let mut to = Hashing::new(file.try_clone().or_cannot("write", &shown)?);
                let more = write(&mut to)?;
                let (_, digest, size) = to.finish();
                let name = blob_path(&digest);
                if names.contains(&name) {
                    file.set_len(at)
                        .and_then(|()| file.seek(SeekFrom::Start(at)).map(drop))
                        .or_cannot("write", shown)?;
                } else {
                    end(file, at, &name).or_cannot("write", shown)?;
                    names.push(name);
                }
                Ok((Blob { digest, size }, more))
            }
        }
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// `ENOSPC`, `EACCES` … with the path.
    pub fn finish(mut self) -> Result<()> {
        if let Kind::Archive { file, .. } = &mut self.kind {
            let closed = file.write_all(&[0; 2 * RECORD as usize]).and_then(|()| file.sync_data());
            closed.or_cannot("write", self.place.display())?;
        }
        fs::rename(&self.beside, &self.place).or_cannot("write", self.place.display())?;
        self.is_finished = true;
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        match &mut self.kind {
            Kind::Folder => fs::create_dir(self.beside.join(name)).or_cannot("make folder", self.beside.display()),
            Kind::Archive { file, .. } => {
                let mut header = header(&format!("{name}/"), 0);
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                header.set_cksum();
                file.write_all(header.as_bytes()).or_cannot("write", self.beside.display())
            }
        }
    }

    fn shown(&self) -> String {
        self.place.display().to_string()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // It is beside its place and has a name of its own, so it is in nobody's way if it stays.
        let _ = match &self.kind {
            Kind::Folder => remove_tree(&self.beside),
            Kind::Archive { .. } => fs::remove_file(&self.beside).or_cannot("remove", self.beside.display()),
        };
    }
}

/// Leaves room for a header; returns where.
fn begin(file: &mut File) -> io::Result<u64> {
    let at = file.stream_position()?;
    file.write_all(&[0; RECORD as usize])?;
    Ok(at)
}

/// Fills in the header of what was written since, and pads it.
fn end(file: &mut File, at: u64, name: &str) -> io::Result<()> {
    let size = file.stream_position()? - at - RECORD;
    file.write_all_at(header(name, size).as_bytes(), at)?;
    let padding = usize::try_from(size.next_multiple_of(RECORD) - size).unwrap_or(0);
    file.write_all(&vec![0; padding])
}

/// The same for all files: no owner, no time.
fn header(name: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let field = &mut header.as_old_mut().name;
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name.as_bytes()[..length]);
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}
