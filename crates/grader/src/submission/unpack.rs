//! Unpacks a hand-in that came as an archive: `.tar`, `.tar.gz`, `.tar.xz` or `.zip`.
//!
//! An archive is an untrusted list of paths. An absolute path or a `..` would write outside of the folder, a
//! link could send the next file elsewhere, a device would be one of this machine's. Each of these is refused, and nothing
//! of the archive is graded then. Links inside the folder are made last, so no file is written through one. The numbers
//! of bytes and files are counted while unpacking, since what an archive says of its own size need not be true.
//!
//! Look: `tar -tvf HAND-IN`. Manual: tar(5).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, OrCannot, Result};
use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use tar::EntryType;

/// The most folders above a file.
const DEEPEST: usize = 16;
/// An unpacked tar has headers and padding besides its files.
const OVERHEAD: u64 = 16 << 20;

/// What an archive is packed with, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
    /// `.tar.xz`, `.txz`
    TarXz,
    /// `.zip`
    Zip,
}

/// The endings of the names of archives, longest first.
const ENDINGS: [(&str, ArchiveKind); 6] = [
    (".tar.gz", ArchiveKind::TarGz),
    (".tar.xz", ArchiveKind::TarXz),
    (".tgz", ArchiveKind::TarGz),
    (".txz", ArchiveKind::TarXz),
    (".tar", ArchiveKind::Tar),
    (".zip", ArchiveKind::Zip),
];

/// The kind of archive that a file's name promises, and the name without that ending; none for other files.
pub fn kind_of(path: &Path) -> Option<(ArchiveKind, String)> {
    let name = path.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let (ending, kind) = ENDINGS.into_iter().find(|(ending, _)| lower.ends_with(ending))?;
    let stem = name.get(..name.len() - ending.len()).filter(|stem| !stem.is_empty())?;
    Some((kind, stem.to_owned()))
}

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links.
    pub files: usize,
}

/// What the archive of one hand-in may hold: no more than is copied into the box.
pub const HAND_IN: ArchiveLimits = ArchiveLimits { bytes: super::MOST_BYTES, files: super::MOST_FILES };

/// Unpacks `archive` into the folder `into`, which must be empty.
///
/// # Errors
/// In words: the entry that is refused, the limit that is passed, or why it cannot be read.
pub fn unpack(archive: &Path, kind: ArchiveKind, into: &Path, limits: ArchiveLimits) -> Result<()> {
    let file = File::open(archive).or_cannot("open", archive)?;
    let mut folder = Unpacker::new(into, limits);
    match kind {
        ArchiveKind::Tar => folder.take_tar(file)?,
        ArchiveKind::TarGz => folder.take_tar(GzDecoder::new(file))?,
        ArchiveKind::TarXz => folder.take_tar(XzReader::new(file, true))?,
        ArchiveKind::Zip => folder.take_zip(file)?,
    }
    folder.make_links()
}

/// The folder that an archive is unpacked into.
struct Unpacker<'a> {
    path: &'a Path,
    limits: ArchiveLimits,
    bytes: u64,
    files: usize,
    /// Links that are still to be made, with their targets.
    links: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Unpacker<'a> {
    fn new(path: &'a Path, limits: ArchiveLimits) -> Self {
        Self { path, limits, bytes: 0, files: 0, links: Vec::new() }
    }

    fn take_tar(&mut self, packed: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(packed.take(self.limits.bytes + OVERHEAD));
        for entry in archive.entries().or_cannot("read", "it as a tar")? {
            let mut entry = entry.or_cannot("read", "it as a tar")?;
            let path = entry.path().or_cannot("read", "it as a tar")?.into_owned();
            let kind = entry.header().entry_type();
            match kind {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mode = entry.header().mode().unwrap_or(0o644);
                    self.write(&path, mode, &mut entry)?;
                }
                EntryType::Directory => self.make_folder(&path)?,
                EntryType::Symlink => {
                    let target = entry.link_name().or_cannot("read", "it as a tar")?.unwrap_or_default().into_owned();
                    self.remember_link(&path, target)?;
                }
                EntryType::XGlobalHeader => {}
                EntryType::Link => {
                    return Err(Error::usage(format!("{} is a hard link; pack the file itself", path.display())));
                }
                _ => return Err(Error::usage(format!("{} is neither a file, a folder nor a link", path.display()))),
            }
        }
        Ok(())
    }

    fn take_zip(&mut self, packed: impl Read + Seek) -> Result<()> {
        const KIND: u32 = 0o170_000;
        const FILE: u32 = 0o100_000;
        const FOLDER: u32 = 0o040_000;
        const LINK: u32 = 0o120_000;
        let mut archive = zip::ZipArchive::new(packed).or_cannot("read", "it as a zip")?;
        for nth in 0..archive.len() {
            let mut entry = archive.by_index(nth).or_cannot("read", "it as a zip")?;
            // Some programs for Windows write backslashes.
            let path = PathBuf::from(entry.name().replace('\\', "/"));
            let mode = entry.unix_mode().unwrap_or(0);
            match mode & KIND {
                _ if entry.is_dir() || path.as_os_str().to_string_lossy().ends_with('/') => self.make_folder(&path)?,
                0 | FILE => self.write(&path, if mode & 0o777 == 0 { 0o644 } else { mode }, &mut entry)?,
                FOLDER => self.make_folder(&path)?,
                LINK => {
                    let mut target = String::new();
                    entry.by_ref().take(4096).read_to_string(&mut target).or_cannot("read", "it as a zip")?;
                    self.remember_link(&path, PathBuf::from(target))?;
                }
                _ => return Err(Error::usage(format!("{} is neither a file, a folder nor a link", path.display()))),
            }
        }
        Ok(())
    }

    /// A path below the folder, without `.`; counts it.
    fn place(&mut self, path: &Path) -> Result<PathBuf> {
        self.files += 1;
        let most = self.limits.files;
        if self.files > most {
            return Err(Error::usage(format!("it has more than {most} files")));
        }
        let mut place = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => place.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Error::usage(format!("{} leads out of it", path.display())));
                }
            }
        }
        if place.components().count() > DEEPEST {
            return Err(Error::usage(format!("{} lies deeper than {DEEPEST} folders", path.display())));
        }
        Ok(place)
    }

    fn make_folder(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        self.make_folders(&place)
    }

    fn make_folders(&self, place: &Path) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(self.path.join(place));
        made.or_cannot("make", place)
    }

    fn write(&mut self, path: &Path, mode: u32, content: &mut impl Read) -> Result<()> {
        let place = self.place(path)?;
        self.make_folders(place.parent().unwrap_or(Path::new("")))?;
        // Made new: an archive may hold two files of one name, and the second would change the first unseen.
        let file =
            OpenOptions::new().write(true).create_new(true).mode(mode & 0o777 | 0o600).open(self.path.join(&place));
        let left = self.limits.bytes.saturating_sub(self.bytes);
        let written =
            io::copy(&mut content.take(left + 1), &mut file.or_cannot("unpack", path)?).or_cannot("unpack", path)?;
        if written > left {
            return Err(Error::usage(format!("it is too big: more than {} MiB", self.limits.bytes >> 20)));
        }
        self.bytes += written;
        Ok(())
    }

    fn remember_link(&mut self, path: &Path, target: PathBuf) -> Result<()> {
        let place = self.place(path)?;
        self.links.push((place, target));
        Ok(())
    }

    /// Makes the links, each of which must lead to something inside.
    fn make_links(&self) -> Result<()> {
        let links: BTreeSet<&Path> = self.links.iter().map(|(place, _)| place.as_path()).collect();
        for (place, target) in &self.links {
            let leads_out = || {
                let ends = (place.display(), target.display());
                Error::usage(format!("{} is a link to {}, out of the archive", ends.0, ends.1))
            };
            let mut at: PathBuf = place.parent().unwrap_or(Path::new("")).to_owned();
            for part in target.components() {
                match part {
                    Component::Normal(part) => at.push(part),
                    Component::CurDir => {}
                    Component::ParentDir if at.pop() => {}
                    Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(leads_out()),
                }
                // Behind another link, `..` would mean something else.
                if links.contains(at.as_path()) {
                    return Err(Error::usage(format!("{} is a link that leads to a link", place.display())));
                }
            }
            self.make_folders(place.parent().unwrap_or(Path::new("")))?;
            std::os::unix::fs::symlink(target, self.path.join(place)).or_cannot("make the link", place)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ArchiveLimits = ArchiveLimits { bytes: 64 << 20, files: 2000 };
    use std::io::{Cursor, Write};

    /// A tar of these entries: path, kind, link's target, content.
    fn tar_of(entries: &[(&str, EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, target, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(tar: &[u8]) -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Unpacker::new(dir.path(), LIMITS);
        folder.take_tar(tar)?;
        folder.make_links()?;
        Ok(dir)
    }

    #[test]
    fn files_folders_and_links_inside_come_out_with_their_run_bits() {
        let tar = tar_of(&[
            ("x/", EntryType::Directory, "", b""),
            ("x/task4/conductor.sh", EntryType::Symlink, "../task3/conductor.sh", b""),
            ("./x/task3/conductor.sh", EntryType::Regular, "", b"#!/bin/bash\n"),
        ]);
        let dir = unpacked(&tar).unwrap();
        let text = fs::read_to_string(dir.path().join("x/task4/conductor.sh")).unwrap();
        assert_eq!(text, "#!/bin/bash\n");
        let mode = fs::metadata(dir.path().join("x/task3/conductor.sh")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o755);
    }

    #[test]
    fn what_would_leave_the_folder_or_is_no_file_is_refused_by_name() {
        let refused = |path, kind, target| unpacked(&tar_of(&[(path, kind, target, b"")])).unwrap_err().reason();
        assert!(refused("/etc/evil", EntryType::Regular, "").contains("/etc/evil leads out"));
        assert!(refused("a/../../evil", EntryType::Regular, "").contains("leads out"));
        assert!(refused("a", EntryType::Symlink, "/etc/passwd").contains("link to /etc/passwd, out of"));
        assert!(refused("b/a", EntryType::Symlink, "../../x").contains("out of the archive"));
        assert!(refused("a", EntryType::Char, "").contains("neither a file"));
        assert!(refused("a", EntryType::Fifo, "").contains("neither a file"));
        assert!(refused("a", EntryType::Link, "/etc/shadow").contains("hard link"));
        let deep = "d/".repeat(20) + "f";
        assert!(refused(&deep, EntryType::Regular, "").contains("deeper than 16"));
        let through = tar_of(&[("a", EntryType::Symlink, "b/c", b""), ("a/evil", EntryType::Regular, "", b"x")]);
        assert!(unpacked(&through).is_err());
        let chain = tar_of(&[("d/up", EntryType::Symlink, ".", b""), ("l", EntryType::Symlink, "d/up/../../x", b"")]);
        assert!(unpacked(&chain).is_err());
        let twice = tar_of(&[("a", EntryType::Regular, "", b"1"), ("a", EntryType::Regular, "", b"2")]);
        assert!(unpacked(&twice).unwrap_err().reason().contains("cannot unpack a: File exists"));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        let names: Vec<String> = (0..12).map(|nth| format!("f{nth}")).collect();
        let entries: Vec<(&str, EntryType, &str, &[u8])> =
            names.iter().map(|name| (name.as_str(), EntryType::Regular, "", zeros.as_slice())).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar_of(&entries)).unwrap();
        let packed = gz.finish().unwrap();
        assert!(packed.len() < 1 << 20);
        let dir = tempfile::tempdir().unwrap();
        let why = Unpacker::new(dir.path(), LIMITS).take_tar(GzDecoder::new(packed.as_slice())).unwrap_err().reason();
        assert!(why.contains("more than 64 MiB") || why.contains("cannot"), "{why}");
        let many: Vec<String> = (0..=LIMITS.files).map(|nth| format!("f{nth}")).collect();
        let entries: Vec<(&str, EntryType, &str, &[u8])> =
            many.iter().map(|name| (name.as_str(), EntryType::Regular, "", &b""[..])).collect();
        assert!(unpacked(&tar_of(&entries)).unwrap_err().reason().contains("more than 2000 files"));
    }

    #[test]
    fn a_zip_is_read_with_the_separators_of_either_world() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file("x\\task1\\namespace_prog.c", options).unwrap();
        zip.write_all(b"int main(void) {}\n").unwrap();
        let dir = tempfile::tempdir().unwrap();
        Unpacker::new(dir.path(), LIMITS).take_zip(zip.finish().unwrap()).unwrap();
        assert!(dir.path().join("x/task1/namespace_prog.c").is_file());
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("../evil", options).unwrap();
        let out = tempfile::tempdir().unwrap();
        let why = Unpacker::new(out.path(), LIMITS).take_zip(zip.finish().unwrap()).unwrap_err().reason();
        assert!(why.contains("leads out"), "{why}");
    }

    #[test]
    fn the_name_tells_the_kind() {
        let kind = |name: &str| kind_of(Path::new(name));
        assert_eq!(kind("a/24m0001_assignment3.tar.gz"), Some((ArchiveKind::TarGz, "24m0001_assignment3".to_owned())));
        assert_eq!(kind("X.ZIP"), Some((ArchiveKind::Zip, "X".to_owned())));
        assert_eq!(kind("x.txz").map(|(kind, _)| kind), Some(ArchiveKind::TarXz));
        assert_eq!(kind(".tar"), None);
        assert_eq!(kind("x.gz"), None);
    }
}
