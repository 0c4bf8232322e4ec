//! The store: one root directory with images, containers and the cache.
//!
//! ```text
//! ROOT/.images/NAME/record.json        a list of layers, and what to run
//! ROOT/.containers/NAME/record.json    what was asked for; and who its first process is
//!                       ledger         what was changed on the host for it
//!                       rootfs         the container's root, mounted while it exists
//!                       upper, work    what it wrote (overlay)
//!                       log            what a detached one printed
//!                       exit           what its first process ended with
//! ROOT/.cache/layers/ID                read-only layers (see the module image::layer)
//!        building/ID                   layers that are being made
//!        packages/…                    what debootstrap fetched
//!        pulled/ID                     which layers an image of a registry has
//! ```
//!
//! A command that works on a container holds a lock (flock) on its folder. A folder without a record is a container
//! being started while it is locked; otherwise it is a leftover of a killed command.
//!
//! The three folders are accessible to root only: images contain set-user-ID programs that users of the host must not
//! run. Manual: flock(2).

pub mod exit_code;
pub mod layer_id;
pub mod ledger;
pub mod lock;
pub mod record;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use nsutil::step;

use crate::output::advice::closest;
use crate::spec::name::{ContainerName, ImageName};
use exit_code::ExitCodeFile;
use layer_id::LayerId;
use ledger::Ledger;
use lock::Lock;
use record::{ContainerRecord, ImageRecord};

/// Conductor's state directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A claimed name with its locked folder, for a container that is being started.
#[derive(Debug)]
pub struct Claim {
    directory: PathBuf,
    lock: Lock,
}

impl Claim {
    /// The container's folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The container's ledger.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(&self.directory)
    }

    /// The lock, to release the name.
    pub fn into_lock(self) -> Lock {
        self.lock
    }
}

impl Store {
    /// Opens the store at `root`, making its folders where they are missing.
    ///
    /// # Errors
    /// `EACCES` without root's rights, `EROFS`, `ENOTDIR` … by mkdir(2), with the folder named.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).or_cannot("find", root.display())?;
        let store = Self { root };
        for dir in [store.images_dir(), store.containers_dir(), store.cache_dir()] {
            match DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
                Ok(()) => (),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => (),
                Err(error) => return Err(Error::new("make folder", dir.display(), error)),
            }
        }
        Ok(store)
    }

    /// `ROOT/.images`.
    pub fn images_dir(&self) -> PathBuf {
        self.root.join(".images")
    }

    /// `ROOT/.containers`.
    pub fn containers_dir(&self) -> PathBuf {
        self.root.join(".containers")
    }

    /// `ROOT/.cache`.
    pub fn cache_dir(&self) -> PathBuf {
        self.root.join(".cache")
    }

    /// `ROOT/.cache/layers`.
    pub fn layers_dir(&self) -> PathBuf {
        self.cache_dir().join("layers")
    }

    /// `ROOT/.cache/pulled`: what references to registries led to.
    pub fn pulled_dir(&self) -> PathBuf {
        self.cache_dir().join("pulled")
    }

    /// `ROOT/.cache/packages`: what debootstrap fetched.
    pub fn packages_dir(&self) -> PathBuf {
        self.cache_dir().join("packages")
    }

    /// The folder of a layer's files, as overlay wants it.
    pub fn layer_root(&self, id: &LayerId) -> PathBuf {
        self.layers_dir().join(id.to_string()).join("root")
    }

    /// The folder of an image.
    pub fn image_dir(&self, name: &ImageName) -> PathBuf {
        self.images_dir().join(name)
    }

    /// The folder of a container.
    pub fn container_dir(&self, name: &ContainerName) -> PathBuf {
        self.containers_dir().join(name)
    }

    /// All images with their records, sorted; a damaged record is an error in its place.
    ///
    /// # Errors
    /// When the folder of images cannot be read.
    pub fn images(&self) -> Result<Vec<(ImageName, Result<ImageRecord>)>> {
        self.sweep_images()?;
        let names: Vec<ImageName> = names_in(&self.images_dir())?;
        let known = names.into_iter().map(|name| (name.clone(), self.image(&name)));
        // One that was removed while we looked is none, and not damaged.
        Ok(known.filter(|(name, record)| record.is_ok() || self.image_dir(name).exists()).collect())
    }

    /// The record of an image.
    ///
    /// # Errors
    /// In words when there is no such image; when its record is damaged or from a newer version.
    pub fn image(&self, name: &ImageName) -> Result<ImageRecord> {
        if !self.image_dir(name).exists() {
            return Err(self.no_such_image(name));
        }
        ImageRecord::load(&self.image_dir(name))
    }

    /// Writes an image's record atomically; replaces an existing one.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS` … with the path.
    pub fn save_image(&self, record: &ImageRecord) -> Result<()> {
        self.sweep_images()?;
        let dir = self.image_dir(&record.name);
        // Names do not begin with a dot, so this folder is not listed; each process has its own.
        let beside = self.images_dir().join(format!(".{}.{}", record.name, std::process::id()));
        let _held = Lock::new_folder(&beside)?;
        let saved = record.save(&beside).and_then(|()| match fs::rename(&beside, &dir) {
            // The image exists: replace its record.
            Err(_) if dir.is_dir() => record.save(&dir),
            renamed => renamed.or_cannot("put an image at", dir.display()),
        });
        // Left only if it was not renamed.
        let _ = fs::remove_dir_all(&beside);
        saved
    }

    /// Removes leftovers of killed commands among images: unlocked folders with temporary names.
    fn sweep_images(&self) -> Result<()> {
        let has_no_name = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        for (folder, _held) in Lock::leftovers(&self.images_dir(), has_no_name)? {
            // The next command tries again.
            let _ = fs::remove_dir_all(folder);
        }
        Ok(())
    }

    /// Removes an image, even with a damaged record. It is renamed first.
    ///
    /// # Errors
    /// In words when there is no such image; `EROFS` … with the path.
    pub fn remove_image(&self, name: &ImageName) -> Result<()> {
        let dir = self.image_dir(name);
        let away = self.images_dir().join(format!(".{name}.{}.removed", std::process::id()));
        step!("image.remove", call: "rename(\"{}\", \"{}\"); unlink …", dir.display(), away.display();
            why: "its name goes at once, so that it is never there in part"; shell: "rm -r {}", dir.display());
        let _held = Lock::folder(&dir)?;
        match fs::rename(&dir, &away) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.no_such_image(name)),
            renamed => renamed.or_cannot("remove", dir.display())?,
        }
        fs::remove_dir_all(&away).or_cannot("remove", away.display())
    }

    /// All containers with their records, sorted; a damaged record is an error in its place. Containers being started
    /// have no record yet and are skipped.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn containers(&self) -> Result<Vec<(ContainerName, Result<ContainerRecord>)>> {
        let names: Vec<ContainerName> = names_in(&self.containers_dir())?;
        let has_record = |name: &ContainerName| self.container_dir(name).join(record::FILE).exists();
        let known = names.into_iter().filter(has_record).map(|name| (name.clone(), self.container(&name)));
        // One that was removed while we looked is none, and not damaged.
        Ok(known.filter(|(name, record)| record.is_ok() || has_record(name)).collect())
    }

    /// The record of a container.
    ///
    /// # Errors
    /// In words when there is no such container; when its record is damaged or from a newer version.
    pub fn container(&self, name: &ContainerName) -> Result<ContainerRecord> {
        if !self.container_dir(name).exists() {
            return Err(self.no_such_container(name));
        }
        ContainerRecord::load(&self.container_dir(name))
    }

    /// The record of a container that runs, and its first process.
    ///
    /// # Errors
    /// In words when the container does not exist or has exited; `attempt` names what was to be done.
    pub fn running_container(&self, name: &ContainerName, attempt: &str) -> Result<(ContainerRecord, PidFd)> {
        let record = self.container(name)?;
        match record.running()? {
            Some(init) => Ok((record, init)),
            None => {
                let ended = Error::new(attempt, format_args!("container {name}"), "its first process has ended");
                Err(ended.hint(format_args!("`conductor stop {name}` removes it; then it can be run again")))
            }
        }
    }

    /// Waits for the lock of a container.
    ///
    /// # Errors
    /// In words when there is no such container.
    pub fn lock_container(&self, name: &ContainerName) -> Result<Lock> {
        self.try_lock_container(name)?.ok_or_else(|| self.no_such_container(name))
    }

    /// The same; none if it does not exist or is removed meanwhile.
    ///
    /// # Errors
    /// Those of open(2) and flock(2).
    pub fn try_lock_container(&self, name: &ContainerName) -> Result<Option<Lock>> {
        Lock::folder(&self.container_dir(name))
    }

    /// Claims a name for a new container: creates and locks its folder.
    ///
    /// Of concurrent claims of a name one succeeds; the others wait until it has become a container, and fail. A
    /// leftover of that name is first removed by `clear`.
    ///
    /// # Errors
    /// In words when there is a container of that name; those of `clear`.
    pub fn claim(&self, name: &ContainerName, clear: impl Fn(Lock) -> Result<()>) -> Result<Claim> {
        let directory = self.container_dir(name);
        step!("claim", call: "mkdir(\"{}\"); flock(it, LOCK_EX)", directory.display();
            why: "of concurrent claims, one creates and locks the folder; the kernel releases the lock if that command dies";
            shell: "mkdir {0}; exec 9< {0}; flock 9", directory.display());
        loop {
            let made = match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
                Err(error) => return Err(Error::new("make folder", directory.display(), error)),
            };
            let Some(lock) = self.try_lock_container(name)? else { continue };
            if directory.join(record::FILE).exists() {
                return Err(Error::new("run", format_args!("container {name}"), "it already exists")
                    .hint(format_args!("`conductor stop {name}` removes it, `conductor exec {name}` enters it")));
            }
            if made || is_empty(&directory) {
                return Ok(Claim { directory, lock });
            }
            clear(lock)?;
        }
    }

    /// Leftovers of killed commands, each with its lock.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn leftovers(&self) -> Result<Vec<(ContainerName, Lock)>> {
        let is_leftover = |name: &OsStr| {
            let directory = self.containers_dir().join(name);
            as_name::<ContainerName>(name).is_some() && !directory.join(record::FILE).exists()
        };
        let left = Lock::leftovers(&self.containers_dir(), is_leftover)?;
        Ok(left.into_iter().filter_map(|(path, lock)| Some((as_name(path.file_name()?)?, lock))).collect())
    }

    /// A container's name in host-wide namespaces such as the cgroup hierarchy: it includes a hash of the store, since
    /// two stores may have a container of the same name.
    pub fn tag(&self, name: &ContainerName) -> String {
        format!("conductor-{name}-{:08x}", fnv1a(self.root.as_os_str().as_encoded_bytes()))
    }

    /// The exit code of a container's first process, if it was recorded.
    pub fn exit_code(&self, name: &ContainerName) -> Option<i32> {
        ExitCodeFile::open(&self.container_dir(name))?.read()
    }

    /// Locks all networks: while a subnet is chosen, and while rules of two containers change.
    ///
    /// # Errors
    /// `EACCES`, `EROFS` by open(2).
    pub fn lock_networks(&self) -> Result<Lock> {
        // In the folder of containers, because `rmcache` empties the cache. Container names do not begin with a dot.
        let path = self.containers_dir().join(".networks.lock");
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        Lock::file(file.or_cannot("open", path.display())?, &path)
    }

    /// Shared lock of the layers: held while layers are used, so that none is removed.
    ///
    /// # Errors
    /// `EACCES`, `EROFS` by open(2).
    pub fn lock_layers_shared(&self) -> Result<Lock> {
        let (path, file) = self.lock_file("layers.lock")?;
        Lock::shared(file, &path)
    }

    /// Exclusive lock of the layers, for removing some.
    ///
    /// # Errors
    /// In words when they are in use; `EACCES`, `EROFS` by open(2).
    pub fn lock_layers_exclusive(&self) -> Result<Lock> {
        let (path, file) = self.lock_file("layers.lock")?;
        match Lock::try_exclusive(file) {
            Err(Errno::EWOULDBLOCK) => {
                let busy = Error::new("remove", "layers", "another command is working with them");
                Err(busy.hint("try again when the build has ended"))
            }
            outcome => outcome.or_cannot("lock", path.display()),
        }
    }

    /// The error for a container that is not there.
    pub fn no_such_container(&self, name: &ContainerName) -> Error {
        let missing = Error::new("find", format_args!("container {name}"), "it does not exist");
        let known = names_in::<ContainerName>(&self.containers_dir()).unwrap_or_default();
        match closest(name.as_str(), known.into_iter().map(String::from)) {
            Some(closest) => missing.hint(format_args!("did you mean {closest}? `conductor ps` lists them")),
            None => missing.hint("`conductor ps` lists them"),
        }
    }

    fn no_such_image(&self, name: &ImageName) -> Error {
        let missing = Error::new("find", format_args!("image {name}"), "it does not exist");
        let known = names_in::<ImageName>(&self.images_dir()).unwrap_or_default();
        match closest(name.as_str(), known.into_iter().map(String::from)) {
            Some(closest) => missing.hint(format_args!("did you mean {closest}? `conductor images` lists them")),
            None => missing.hint(format_args!("`conductor images` lists them, `conductor build {name}` makes it")),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.cache_dir().join(name);
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        file.or_cannot("open", path.display()).map(|file| (path, file))
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// FNV-1a, 32 bits: short, and the same on every machine.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The valid names in a folder, sorted; temporary files are skipped.
fn names_in<N: FromStr + Ord>(dir: &Path) -> Result<Vec<N>> {
    let entries = fs::read_dir(dir).or_cannot("list", dir.display())?;
    let mut names: Vec<N> = entries.flatten().filter_map(|entry| as_name(&entry.file_name())).collect();
    names.sort();
    Ok(names)
}

fn as_name<N: FromStr>(name: &OsStr) -> Option<N> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image is saved in a temporary folder, and every listing removes unlocked leftovers.
    #[test]
    fn an_image_is_saved_while_others_list_the_images() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        let listings = || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                store.images().unwrap();
            }
        };
        let image = |name: &str| -> ImageRecord {
            let record = serde_json::json!({"name": name, "from": "host", "layers": [], "created": 0});
            serde_json::from_value(record).unwrap()
        };
        let saved = std::thread::scope(|threads| {
            threads.spawn(listings);
            threads.spawn(listings);
            let saved: Vec<_> = (0..200).map(|round| store.save_image(&image(&format!("eg{}", round % 7)))).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            saved
        });
        for outcome in saved {
            outcome.unwrap();
        }
    }
}
