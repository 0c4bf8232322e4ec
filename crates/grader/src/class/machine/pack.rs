//! What the machine is given: a tar on a disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::super::stamp::LEFT_OUT;
use crate::error::{Error, IntoExit, OrCannot, Result};

/// The most of a hand-in that is given to a machine. The grader takes less; one that is larger fails here, and not in the machine.
const MOST: u64 = 512 << 20;

/// Writes the disk; `arguments` are those of the grader inside, for the hand-in and the kit where they lie there.
///
/// # Errors
/// `Exit::Usage` with the file and the reason.
pub fn pack(
    disk: &Path,
    handin: &Path,
    kit: Option<&Path>,
    arguments: impl FnOnce(&Path, Option<&Path>) -> Vec<String>,
) -> Result<()> {
    let file = File::create(disk).or_cannot("write", disk).into_usage()?;
    let mut pack = Pack { tar: Builder::new(file), left: MOST };
    // Its name tells whose it is.
    let name = PathBuf::from("handin").join(handin.file_name().unwrap_or_default());
    let own = std::env::current_exe().map_err(|why| Error::broken(format!("its own program: {why}")))?;
    let mut program = File::open(&own).or_cannot("read", &own).into_usage()?;
    pack.tar.append_file("grade", &mut program).or_cannot("write", disk).into_usage()?;
    pack.bytes("inside.sh", include_bytes!("inside.sh")).or_cannot("write", disk).into_usage()?;
    let words = arguments(&name, kit.map(|_| Path::new("kit")));
    pack.bytes("arguments", (words.join("\0") + "\0").as_bytes()).or_cannot("write", disk).into_usage()?;
    pack.tree(handin, &name)?;
    if let Some(kit) = kit {
        pack.tree(kit, Path::new("kit"))?;
    }
    let file = pack.tar.into_inner().or_cannot("write", disk).into_usage()?;
    // A disk has whole sectors.
    let length = file.metadata().or_cannot("read", disk).into_usage()?.len();
    file.set_len(length.next_multiple_of(1 << 20)).or_cannot("write", disk).into_usage()
}

struct Pack {
    tar: Builder<File>,
    left: u64,
}

impl Pack {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        self.tar.append_data(&mut header, name, bytes)
    }

    /// A file, or all below a folder. Links stay links; what is neither file, folder nor link is left out.
    fn tree(&mut self, from: &Path, name: &Path) -> Result<()> {
        let about = fs::symlink_metadata(from).or_cannot("read", from).into_usage()?;
        let mut header = Header::new_gnu();
        header.set_metadata(&about);
        header.set_uid(0);
        header.set_gid(0);
        if about.is_symlink() {
            let target = fs::read_link(from).or_cannot("read", from).into_usage()?;
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            return self.tar.append_link(&mut header, name, target).or_cannot("pack", from).into_usage();
        }
        if about.is_file() {
            self.left = self.left.checked_sub(about.len()).ok_or_else(|| {
                Error::usage(format!("the hand-in is too big for a machine: more than {} MiB", MOST >> 20))
            })?;
            let file = File::open(from).or_cannot("read", from).into_usage()?;
            // One that grows meanwhile would end in the next header.
            return self
                .tar
                .append_data(&mut header, name, std::io::Read::take(file, about.len()))
                .or_cannot("pack", from)
                .into_usage();
        }
        if about.is_dir() {
            header.set_size(0);
            self.tar.append_data(&mut header, name, std::io::empty()).or_cannot("pack", from).into_usage()?;
            for entry in fs::read_dir(from).or_cannot("read", from).into_usage()? {
                let below = entry.or_cannot("read", from).into_usage()?.file_name();
                if !LEFT_OUT.iter().any(|out| below == *out) {
                    self.tree(&from.join(&below), &name.join(&below))?;
                }
            }
        }
        Ok(())
    }
}
