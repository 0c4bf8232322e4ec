//! A hash of everything that decides a result: where it is unchanged, nothing is graded again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Parts of a hand-in that are no part of what is graded.
pub const LEFT_OUT: [&str; 3] = [".git", "target", "node_modules"];

/// A hash under way.
#[derive(Clone, Default)]
pub struct Stamp(Sha256);

impl Stamp {
    /// Adds a word.
    #[must_use]
    pub fn word(mut self, word: impl AsRef<[u8]>) -> Self {
        // With its length: `ab` and `c` are not `a` and `bc`.
        self.0.update((word.as_ref().len() as u64).to_le_bytes());
        self.0.update(word);
        self
    }

    /// Adds a file, or all below a folder: names, run bits and contents.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn tree(mut self, path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        self = self.word(path.file_name().unwrap_or_default().as_bytes());
        if meta.is_symlink() {
            return Ok(self.word(fs::read_link(path)?.as_os_str().as_bytes()));
        }
        if meta.is_file() {
            self = self.word((meta.permissions().mode() & 0o111).to_le_bytes()).word(meta.len().to_le_bytes());
            let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 16]);
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(self),
                    count => self.0.update(buffer.get(..count).unwrap_or_default()),
                }
            }
        }
        if meta.is_dir() {
            let mut below = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            below.retain(|path| !path.file_name().is_some_and(|name| LEFT_OUT.iter().any(|out| name == *out)));
            below.sort();
            self = self.word((below.len() as u64).to_le_bytes());
            for path in below {
                self = self.tree(&path)?;
            }
        }
        Ok(self)
    }

    /// The hash in hexadecimal digits.
    pub fn end(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contents_and_run_bits_make_a_difference_and_what_is_left_out_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("conductor.sh");
        let stamp = || Stamp::default().tree(dir.path()).unwrap().end();
        fs::write(&file, "a").unwrap();
        let first = stamp();
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert_eq!(stamp(), first);
        fs::write(&file, "b").unwrap();
        let second = stamp();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let third = stamp();
        fs::rename(&file, dir.path().join("conductor")).unwrap();
        let all = [first, second, third, stamp()];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{all:?}");
    }
}
