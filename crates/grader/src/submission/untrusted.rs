//! A folder from a student: its files are read as data, and nothing in it is trusted.
//!
//! A link in it may lead to the instructor's own files, a FIFO never ends, a device has no size. So only regular files are
//! read, on paths without links, and up to a limit in size. Manual: openat2(2), `RESOLVE_NO_SYMLINKS`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::{Error, IntoExit, OrCannot, Result};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// A folder that was handed in.
#[derive(Debug)]
pub struct UntrustedFolder {
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

impl UntrustedFolder {
    /// Opens it.
    ///
    /// # Errors
    /// `Exit::Usage` with the kernel's reason.
    pub fn open(dir: &Path) -> Result<Self> {
        let folder = File::open(dir).or_cannot("open", dir).into_usage()?;
        Ok(Self { dir: dir.to_owned(), folder })
    }

    /// Reads one file; none when there is nothing of that name.
    ///
    /// # Errors
    /// In words, when it is no file or too long, when a link is on the way, and the kernel's reason.
    pub fn read(&self, path: &Path) -> Result<Option<Content>> {
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
            Err(Errno::LOOP) => return Err(Error::usage("it is a link, or lies behind one")),
            Err(why) => return Err(why).or_cannot("open", path).into_usage(),
        };
        let about = file.metadata().or_cannot("read", path).into_usage()?;
        if !about.is_file() {
            return Err(Error::usage("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).or_cannot("read", path).into_usage()?;
        if bytes.len() as u64 > LONGEST {
            return Err(Error::usage(format!("it is longer than {} MiB", LONGEST >> 20)));
        }
        Ok(Some(Content { bytes, is_executable: about.permissions().mode() & 0o100 != 0 }))
    }

    /// The files in it that are not in `known`, a sorted list, but for those that the workspace at `root` tells git to ignore:
    /// building and running makes them. A link is one of them, wherever it leads.
    ///
    /// # Errors
    /// `Exit::Usage` when a folder cannot be read, `Exit::CannotRun` without git or its answer.
    pub fn added_to(&self, root: &Path, known: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        below(&self.dir, Path::new(""), &mut found)?;
        let is_ours = |path: &Path| known.binary_search_by(|file| file.as_path().cmp(path)).is_ok();
        found.retain(|path| !is_ours(path));
        // Located a file of ours nothing comes by building; and where that is a link, git would refuse the whole question.
        let asked: Vec<_> = found.iter().filter(|path| !path.ancestors().skip(1).any(is_ours)).cloned().collect();
        let ignored = ignored(root, &asked)?;
        found.retain(|path| !ignored.contains(path));
        found.sort();
        Ok(found)
    }
}

fn below(dir: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let whole = dir.join(folder);
    for entry in fs::read_dir(&whole).or_cannot("read", &whole).into_usage()? {
        let entry = entry.or_cannot("read", &whole).into_usage()?;
        let path = folder.join(entry.file_name());
        // What git and cargo write themselves, and that is much.
        if [".git", "target"].iter().any(|own| path == Path::new(own)) {
            continue;
        }
        match entry.file_type().or_cannot("read", &whole).into_usage()?.is_dir() {
            true => below(dir, &path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

/// Those of `paths` that the workspace at `root` tells git to ignore.
fn ignored(root: &Path, paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["check-ignore", "--no-index", "-z", "--stdin"]);
    let mut git =
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().or_cannot("run", "git")?;
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
        git.wait_with_output().or_cannot("run", "git")
    })?;
    // 0: some are, 1: none is.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::cannot_run(format!("git cannot say what is ignored in {}: {}", root.display(), why.trim())));
    }
    Ok(paths_in(&output.stdout).filter_map(|path| Some(path.strip_prefix(".").ok()?.to_owned())).collect())
}

/// The paths that git printed for `-z`.
pub fn paths_in(output: &[u8]) -> impl Iterator<Item = PathBuf> {
    output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(|path| PathBuf::from(OsStr::from_bytes(path)))
}
