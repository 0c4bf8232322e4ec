//! What was handed in: a folder whose files are read as data, whatever lies there.
//!
//! A link in it may lead to the instructor's own files, a FIFO never ends, a device has no size. So only regular files are
//! read, on a way without links, and no more of them than anybody writes. Manual: openat2(2), `RESOLVE_NO_SYMLINKS`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::fault::Fault;
use crate::workspace::Workspace;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// A folder that was handed in.
#[derive(Debug)]
pub struct HandedIn {
    dir: PathBuf,
    folder: File,
}

/// A file of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Whether its owner may execute it.
    pub is_executable: bool,
}

impl HandedIn {
    /// Opens it.
    ///
    /// # Errors
    /// [`Fault::Usage`] when it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, Fault> {
        let folder = File::open(dir).map_err(|why| Fault::Usage(format!("cannot open {}: {why}", dir.display())))?;
        Ok(Self { dir: dir.to_owned(), folder })
    }

    /// Reads one file; none when there is nothing of that name.
    ///
    /// # Errors
    /// In words, when it is no file or too long, when a link is on the way, and the kernel's reason.
    pub fn read(&self, path: &Path) -> Result<Option<Content>, String> {
        // A FIFO would be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat2(
            &self.folder,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
        ) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => return Err("it is a link, or lies behind one".to_owned()),
            Err(why) => return Err(why.to_string()),
        };
        let about = file.metadata().map_err(|why| why.to_string())?;
        if !about.is_file() {
            return Err("it is no file".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
        if bytes.len() as u64 > LONGEST {
            return Err(format!("it is longer than {} MiB", LONGEST >> 20));
        }
        Ok(Some(Content { bytes, is_executable: about.permissions().mode() & 0o100 != 0 }))
    }

    /// The files in it that `workspace` does not have, but for those that it tells git to ignore, since they come by building
    /// and running. A link is one of them, wherever it leads.
    ///
    /// # Errors
    /// [`Fault::Usage`] when a folder cannot be read, [`Fault::CannotRun`] without git or its answer.
    pub fn added_to(&self, workspace: &Workspace) -> Result<Vec<PathBuf>, Fault> {
        let mut found = Vec::new();
        below(&self.dir, Path::new(""), &mut found)?;
        let is_ours = |path: &Path| workspace.files.binary_search_by(|file| file.as_path().cmp(path)).is_ok();
        found.retain(|path| !is_ours(path));
        // Below a file of ours nothing comes by building; and where that is a link, git would refuse the whole question.
        let asked: Vec<_> = found.iter().filter(|path| !path.ancestors().skip(1).any(is_ours)).cloned().collect();
        let ignored = ignored(&workspace.root, &asked)?;
        found.retain(|path| !ignored.contains(path));
        found.sort();
        Ok(found)
    }
}

fn below(dir: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let cannot = |why: std::io::Error| Fault::Usage(format!("cannot read {}: {why}", dir.join(folder).display()));
    for entry in fs::read_dir(dir.join(folder)).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = folder.join(entry.file_name());
        // What git and cargo write themselves, and that is much.
        if [".git", "target"].iter().any(|own| path == Path::new(own)) {
            continue;
        }
        match entry.file_type().map_err(cannot)?.is_dir() {
            true => below(dir, &path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

/// Those of `paths` that the workspace at `root` tells git to ignore.
fn ignored(root: &Path, paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Fault> {
    let cannot = |why: std::io::Error| Fault::CannotRun(format!("cannot run git: {why}"));
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["check-ignore", "--no-index", "-z", "--stdin"]);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let mut questions = Vec::new();
    for path in paths {
        // Or a name such as `:(top)x` would be more than a name.
        questions.extend_from_slice(b"./");
        questions.extend_from_slice(path.as_os_str().as_bytes());
        questions.push(0);
    }
    let output = std::thread::scope(|scope| {
        // Both at once, or each would wait for the other when there is much to say.
        let pipe = git.stdin.take();
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(&questions)));
        git.wait_with_output().map_err(cannot)
    })?;
    // 0: some are, 1: none is.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Fault::CannotRun(format!("git cannot say what is ignored in {}: {}", root.display(), why.trim())));
    }
    Ok(crate::workspace::paths_in(&output.stdout)
        .filter_map(|path| Some(path.strip_prefix(".").ok()?.to_owned()))
        .collect())
}
