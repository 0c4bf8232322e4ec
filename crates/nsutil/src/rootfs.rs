//! A folder prepared to be a process's root directory.
//!
//! Every process has a root directory. chroot(2) changes it for the caller and its future children, and from then on
//! *every* path is resolved below it, including `/lib64/ld-linux-x86-64.so.2`, the loader of nearly every program. So a
//! program's loader and libraries have to be there too, each at the path where it is looked up:
//! [`Rootfs::add_program`].
//!
//! chroot alone does not confine. It changes only what `/` is: a process with root privileges can chroot again and
//! leave with `..`, a descriptor of an outside folder leads out, and processes, network and host name stay shared. A
//! container enters its root by pivot_root (see [`crate::mount`]) in its own mount namespace.
//!
//! A container can change the folder, including its symbolic links. A link `lib -> /etc` must not lead a copy into the
//! *host's* /etc. So all paths are looked up in a [`Root`].
//!
//! Look: `readlink /proc/PID/root`, `ls -l /proc/PID/root/`. Manual: chroot(2), path_resolution(7), openat2(2).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};

use crate::elf::{self, Needs};
use crate::error::{Error, OrCannot, Result};
use crate::rooted::Root;
use crate::syscall::{chdir, chroot};
use crate::{step, sys};

/// A folder to be a process's root directory. It remains when this value is dropped.
#[derive(Debug)]
pub struct Rootfs {
    path: PathBuf,
    directory: File,
}

/// A file to copy: its path on the host and its path inside.
type Copy = (PathBuf, PathBuf);

/// Index made by ldconfig(8), needed for libraries in other than the default folders.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

impl Rootfs {
    /// The folder at `path`, created if missing; an existing folder keeps its contents.
    ///
    /// # Errors
    /// `EEXIST` or `ENOTDIR` when a file is in the way; `EROFS`, `EACCES` when it may not be created; in words for the
    /// host's own root, whose files would be replaced.
    pub fn at(path: &Path) -> Result<Self> {
        let in_the_way = |error: Error| match error.errno() {
            Some(Errno::EEXIST | Errno::ENOTDIR) => error.hint("a file is in the way"),
            _ => error,
        };
        fs::create_dir_all(path).or_cannot("make the folder", path.display()).map_err(in_the_way)?;
        let path = fs::canonicalize(path).or_cannot("find", path.display())?;
        let directory = File::open(&path).or_cannot("open", path.display())?;
        let identity = |file: &fs::Metadata| (file.dev(), file.ino());
        let host = fs::metadata("/").or_cannot("look at", "/")?;
        if identity(&directory.metadata().or_cannot("look at", path.display())?) == identity(&host) {
            return Err(Error::new("use as a container's root:", path.display(), "it is the host's own root"));
        }
        Ok(Self { path, directory })
    }

    /// Its absolute path on the host, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the host's `program` to the path `inside`, with its loader, libraries and interpreters, each to the path
    /// where it is looked up; then runs the loader inside to check that nothing is missing.
    ///
    /// Symbolic links are followed: the copies are regular files. Permissions are kept, except set-user-ID bits. An
    /// existing file is replaced atomically, so a program running from it is not disturbed, and concurrent calls wait
    /// for each other.
    ///
    /// # Errors
    /// Those of [`elf::needs`]; `ENOTDIR` and `EISDIR` when something else is in the way; `ENOSPC`, `EROFS`; `EPERM`
    /// without `CAP_SYS_CHROOT`; in words when the loader still misses something inside.
    pub fn add_program(&self, program: &Path, inside: &Path) -> Result<()> {
        self.add_programs([(program, inside)])
    }

    /// Copies several programs, each to its path inside; shared files are copied once.
    ///
    /// # Errors
    /// Those of [`Rootfs::add_program`], for the first that fails.
    pub fn add_programs<'a>(&self, programs: impl IntoIterator<Item = (&'a Path, &'a Path)>) -> Result<()> {
        let (mut copies, mut checks) = (Vec::new(), Vec::new());
        for (program, inside) in programs {
            let needs = elf::needs(program)?;
            plan(program, inside, &needs, &mut copies)?;
            checks.push((inside, needs));
        }
        let mut arrived = HashSet::new();
        copies.retain(|copy| arrived.insert(copy.clone()));
        // The lock is held until `turn` is closed, also if this process is killed.
        let turn = File::open(&self.path).or_cannot("open", self.path.display())?;
        rustix::fs::flock(&turn, FlockOperation::LockExclusive).or_cannot("wait for", self.path.display())?;
        for (from, to) in &copies {
            self.copy(from, to)?;
        }
        let check = || checks.iter().try_for_each(|(inside, needs)| self.check_inside(inside, needs));
        let outcome = check();
        if outcome.is_ok() || !Path::new(LOADER_CACHE).exists() {
            return outcome;
        }
        self.copy(Path::new(LOADER_CACHE), Path::new(LOADER_CACHE))?;
        check()
    }

    /// Changes the caller's root and working directory to it.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_CHROOT`; `ENOENT` when it has been deleted.
    pub fn enter(&self) -> Result<()> {
        chroot(&self.path).map_err(|error| error.with_attempt("change the root to", self.path.display()))?;
        chdir("/").map_err(|error| error.with_attempt("change the working directory to", "/"))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let (root, source, target) = (&self.path.display(), &from.display(), &to.display());
        step!("rootfs.copy",
            call: "openat2({root}, \"{target}\", RESOLVE_IN_ROOT); copy_file_range(\"{source}\"); rename";
            why: "inside, it is looked up as {target}; RESOLVE_IN_ROOT keeps symbolic links from redirecting the copy";
            shell: "install -D {source} {root}{target}");
        let folder = self.folder(to.parent().unwrap_or(to))?;
        let name = to.file_name().ok_or(Errno::EISDIR).or_cannot("copy a file to", target)?;
        let mut original = File::open(from).or_cannot("read", source)?;
        let about = original.metadata().or_cannot("look at", source)?;
        if let Ok(there) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            if (there.st_dev, there.st_ino) == (about.dev(), about.ino()) {
                return Err(Error::new("copy", source, format!("the copy in {root} is the same file as the host's")));
            }
        }
        let new = [b".", name.as_bytes(), b".new"].concat();
        let new = OsStr::from_bytes(&new);
        // Left by a killed run; we hold the lock, so no other process uses it.
        let _ = rustix::fs::unlinkat(&folder, new, AtFlags::empty());
        let copied = self.write_new(&folder, new, &mut original, about.mode() & 0o777).and_then(|()| {
            rustix::fs::renameat(&folder, new, &folder, name)
                .or_cannot(format_args!("put {target} into"), self.path.display())
        });
        if copied.is_err() {
            let _ = rustix::fs::unlinkat(&folder, new, AtFlags::empty());
        }
        copied
    }

    fn write_new(&self, folder: &OwnedFd, name: &OsStr, original: &mut File, mode: u32) -> Result<()> {
        let attempt = format!("write {} in", name.to_string_lossy());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let mut copy = copy.map(File::from).or_cannot(&attempt, self.path.display())?;
        io::copy(original, &mut copy).or_cannot(&attempt, self.path.display())?;
        copy.set_permissions(Permissions::from_mode(mode)).or_cannot(&attempt, self.path.display())
    }

    /// Whether `path`, resolved as inside, is a folder.
    pub fn has_folder(&self, path: &Path) -> bool {
        self.root().folder(path).is_ok()
    }

    /// Opens a folder inside; creates it and its parents if missing.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is there; `ENOENT` when a link to nowhere is; those of mkdir(2).
    pub fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let folder = self.root().make_folder(path);
        folder.or_cannot(format_args!("open folder {} in", path.display()), self.path.display()).map_err(|error| {
            match error.errno() {
                Some(Errno::ENOENT) => error.hint("a dangling symbolic link is in the way"),
                _ => error,
            }
        })
    }

    /// Resolves its paths as for a process inside.
    fn root(&self) -> Root<&File> {
        Root::new(&self.directory)
    }

    /// Runs the loader, in this root, to list what `program` needs.
    fn check_inside(&self, program: &Path, needs: &Needs) -> Result<()> {
        let loader = match needs {
            Needs::Static => return Ok(()),
            Needs::Dynamic { loader, .. } => loader,
            Needs::Script { interpreter, by_env } => {
                for program in [interpreter].into_iter().chain(by_env) {
                    self.check_inside(&program.path, &program.needs)?;
                }
                return Ok(());
            }
        };
        let root = &self.path.display();
        step!("rootfs.check",
            call: "chroot(\"{root}\"); execve(\"{}\", [\"--list\", \"{}\"])", loader.display(), program.display();
            why: "inside, the loader finds only the copied files: now nothing may be missing";
            shell: "chroot {root} {} --list {}", loader.display(), program.display());
        let mut command = Command::new(loader);
        command.arg("--list").arg(program).env_clear().stdin(Stdio::null());
        sys::start_in_root(&mut command, self.directory.try_clone().or_cannot("open", root)?.into());
        let attempt = format!("list the libraries of {} in", program.display());
        let listed = command.output().or_cannot(&attempt, root).map_err(|error| match error.errno() {
            Some(Errno::EPERM) => error.hint("this requires root (CAP_SYS_CHROOT): try with sudo"),
            Some(Errno::EACCES) => error.hint("is its file system mounted noexec?"),
            _ => error,
        })?;
        if listed.status.success() {
            return Ok(());
        }
        let said = [listed.stdout, listed.stderr].concat();
        let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
        Err(Error::new(&attempt, root, said))
    }
}

/// Lists all files to copy so that `program` starts at the path `inside`.
fn plan(program: &Path, inside: &Path, needs: &Needs, copies: &mut Vec<Copy>) -> Result<()> {
    copies.push((program.to_owned(), inside.to_owned()));
    match needs {
        Needs::Static => (),
        Needs::Dynamic { loader, libraries } => {
            copies.push((loader.clone(), loader.clone()));
            let library_destinations = elf::library_destinations(program, inside, libraries)?;
            copies.extend(libraries.iter().map(|library| library.path.clone()).zip(library_destinations));
        }
        Needs::Script { interpreter, by_env } => {
            for program in [interpreter].into_iter().chain(by_env) {
                plan(&program.path, &program.path, &program.needs, copies)?;
            }
        }
    }
    Ok(())
}
