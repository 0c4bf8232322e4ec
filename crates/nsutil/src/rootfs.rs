//! A folder that can be a process's root directory.
//!
//! Every process has a root: the place its `/` means. chroot(2) changes it for the caller and its future children, and
//! from then on *every* path is looked up below it, also `/lib64/ld-linux-x86-64.so.2`, the loader that nearly every
//! program begins with. So before a program can start there, its loader and libraries have to be there too, each at
//! the path at which it will be looked for: [`Rootfs::add_program`].
//!
//! chroot alone is no jail. It changes where `/` is and nothing else: a process with root's powers can chroot again and
//! walk out with `..`, a descriptor of an outer folder is a way out, and processes, network and host name are shared as
//! before. A container enters its root by pivot_root (see [`crate::mount`]) in a mount namespace of its own.
//!
//! What stands in such a folder is a container's to change, symbolic links too. A link `lib -> /etc` in it must not
//! lead a copy into the *host's* /etc. All paths are therefore looked up in a [`Root`].
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

/// A folder to be a process's root directory. It stays when this value goes.
#[derive(Debug)]
pub struct Rootfs {
    path: PathBuf,
    directory: File,
}

/// One file to copy: from where on the host to where inside.
type Copy = (PathBuf, PathBuf);

/// Libraries in other than the usual folders are found by this index, which ldconfig(8) makes.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

impl Rootfs {
    /// The folder at `path`, which is made if it is missing; a folder that is there keeps what it holds.
    ///
    /// # Errors
    /// `EEXIST` or `ENOTDIR` when a file is in the way; `EROFS`, `EACCES` when it may not be made; words for the
    /// host's own root, in which copying would replace the host's files.
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
            return Err(Error::new("take as a container's root:", path.display(), "it is the host's own"));
        }
        Ok(Self { path, directory })
    }

    /// Where it is on the host, as an absolute path without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the host's `program` to the path `inside`, and its loader, libraries and interpreters to where they will
    /// be looked for; then asks the loader, inside, whether it finds all it needs.
    ///
    /// Symbolic links are followed: what arrives are files. Permissions are kept, except that nothing becomes set-user-id
    /// in the hands of another owner. A file that is there is replaced as a whole, so a program that runs from it is not
    /// disturbed, and two calls at a time wait for each other.
    ///
    /// # Errors
    /// Those of [`elf::needs`]; `ENOTDIR` and `EISDIR` when something else is where a folder or file belongs; `ENOSPC`,
    /// `EROFS`; `EPERM` without `CAP_SYS_CHROOT`; words when the loader still misses something inside.
    pub fn add_program(&self, program: &Path, inside: &Path) -> Result<()> {
        self.add_programs([(program, inside)])
    }

    /// Copies several programs, each with the path it gets inside; what two of them need is copied once.
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
        // Held until `turn` is closed, at the end; the kernel sees to that also when this process is killed.
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

    /// Makes it the root of the calling process, and its working directory.
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
            why: "inside, {target} is where it will be looked for, and no link in there leads the copy out";
            shell: "install -D {source} {root}{target}");
        let folder = self.folder(to.parent().unwrap_or(to))?;
        let name = to.file_name().ok_or(Errno::EISDIR).or_cannot("copy a file to", target)?;
        let mut original = File::open(from).or_cannot("read", source)?;
        let about = original.metadata().or_cannot("look at", source)?;
        if let Ok(there) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            if (there.st_dev, there.st_ino) == (about.dev(), about.ino()) {
                return Err(Error::new("copy", source, format!("{root} holds that very file: it belongs to the host")));
            }
        }
        let new = [b".", name.as_bytes(), b".new"].concat();
        let new = OsStr::from_bytes(&new);
        // Left by a run that was killed; we have the turn, so it is nobody's.
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

    /// Whether `path`, looked up as a process inside would, is a folder.
    pub fn has_folder(&self, path: &Path) -> bool {
        self.root().folder(path).is_ok()
    }

    /// Opens a folder inside; makes it, and those above it, if missing.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is there; `ENOENT` when a link to nowhere is; those of mkdir(2).
    pub fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let folder = self.root().make_folder(path);
        folder.or_cannot(format_args!("open folder {} in", path.display()), self.path.display()).map_err(|error| {
            match error.errno() {
                Some(Errno::ENOENT) => error.hint("a symbolic link to nowhere is in the way"),
                _ => error,
            }
        })
    }

    /// Its paths, looked up as a process inside would.
    fn root(&self) -> Root<&File> {
        Root::new(&self.directory)
    }

    /// Has the loader, in this root, list what `program` needs.
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
            why: "inside, the loader looks in the same folders but finds only what is there: this time nothing may be missing";
            shell: "chroot {root} {} --list {}", loader.display(), program.display());
        let mut command = Command::new(loader);
        command.arg("--list").arg(program).env_clear().stdin(Stdio::null());
        sys::start_in_root(&mut command, self.directory.try_clone().or_cannot("open", root)?.into());
        let attempt = format!("list the libraries of {} in", program.display());
        let listed = command.output().or_cannot(&attempt, root).map_err(|error| match error.errno() {
            Some(Errno::EPERM) => error.hint("it takes root (CAP_SYS_CHROOT): try with sudo"),
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

/// Lists all that has to be copied for `program` to start at the path `inside`.
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
