//! Layers on disk: built in a temporary folder, renamed when complete, and looked up by a hash of their inputs.
//!
//! ```text
//! .cache/layers/ID/root            the files, one layer of an overlay
//!                  record.json     how it was made, its size
//! .cache/building/ID/              the same, while somebody makes it (and holds its flock)
//! ```
//!
//! The ID is a hash of all inputs of the layer: the layer below, the instruction, the files it copies. So the cache
//! look-up is whether a folder of that name exists. A killed build leaves only an unlocked folder under `building`,
//! which the next build removes.
//!
//! Look: `ls .cache/layers`, `cat .cache/layers/*/record.json`. Manual: flock(2), rename(2), syncfs(2).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nsutil::error::{OrCannot, Result, line};
use nsutil::rooted::{self, Entry, remove_tree, walk};
use nsutil::step;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::output::failure::remark;
use crate::store::Store;
use crate::store::layer_id::LayerId;
use crate::store::lock::{Lock, make_folder};
use crate::store::record;

/// All inputs of a layer, in order. Two keys are equal only if every part is.
#[derive(Debug, Clone)]
pub struct Key(Sha256);

/// The record of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The instruction that made it, such as `COPY app /app`.
    pub made_by: String,
    /// The layer below it; a base has none.
    pub parent: Option<LayerId>,
    /// Bytes on disk, as du(1) counts them.
    pub size_bytes: u64,
    /// Unix time of its completion.
    pub created: i64,
}

/// Whether a layer was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was in the cache.
    Cached,
    /// It was built.
    Made,
}

/// The layers of a store. While this value exists, none of them is removed.
#[derive(Debug)]
pub struct Layers {
    dir: PathBuf,
    building: PathBuf,
    _shared: Lock,
}

/// A layer that is being built: removed when dropped, unless it was [kept](Draft::keep).
#[derive(Debug)]
pub struct Draft {
    dir: PathBuf,
    /// Held while it is being built; the kernel releases it if that process is killed.
    lock: Lock,
}

impl Key {
    /// A key that begins with what kind of layer it is for.
    pub fn of(kind: &str) -> Self {
        Self(Sha256::new()).with(kind)
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        // Its length first: ("ab", "c") is not ("a", "bc").
        self.0.update((part.as_ref().len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// The layer it stands for.
    pub fn id(self) -> LayerId {
        LayerId::of_hash(&self.0.finalize())
    }
}

impl Layers {
    /// The layers of `store`, for reading and adding.
    ///
    /// # Errors
    /// `EACCES`, `EROFS`, `ENOSPC` by mkdir(2) and open(2), with the path.
    pub fn open(store: &Store) -> Result<Self> {
        let layers = Self::at(store, store.lock_layers_shared()?)?;
        layers.sweep()?;
        Ok(layers)
    }

    /// Opens the layers of `store` exclusively, for removing some.
    ///
    /// # Errors
    /// In words while a build goes on; those of [`Layers::open`].
    pub fn open_exclusive(store: &Store) -> Result<Self> {
        let layers = Self::at(store, store.lock_layers_exclusive()?)?;
        layers.sweep()?;
        Ok(layers)
    }

    fn at(store: &Store, lock: Lock) -> Result<Self> {
        let (dir, building) = (store.layers_dir(), store.cache_dir().join("building"));
        for folder in [&dir, &building] {
            make_folder(folder)?;
        }
        Ok(Self { dir, building, _shared: lock })
    }

    /// Builds the layer `id` with `make` unless it exists. Concurrent builds of the same layer wait for each other.
    ///
    /// # Errors
    /// Those of `make`; `ENOSPC`, `EROFS` … with the path.
    pub fn get_or_make(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        made_by: &str,
        make: impl FnOnce(&Draft) -> Result<()>,
    ) -> Result<Outcome> {
        if self.has(id) {
            return Ok(Outcome::Cached);
        }
        let Some(draft) = self.draft(id)? else { return Ok(Outcome::Cached) };
        make(&draft)?;
        let record = LayerRecord {
            made_by: made_by.to_owned(),
            parent: parent.cloned(),
            size_bytes: size_on_disk(&draft.root())?,
            created: jiff::Timestamp::now().as_second(),
        };
        draft.keep(&record, &self.dir.join(id.to_string()))?;
        Ok(Outcome::Made)
    }

    /// Whether the layer exists.
    pub fn has(&self, id: &LayerId) -> bool {
        self.dir.join(id.to_string()).is_dir()
    }

    /// What is known about a layer.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn record(&self, id: &LayerId) -> Result<LayerRecord> {
        record::load(&self.dir.join(id.to_string()))
    }

    /// All layers, in no particular order.
    ///
    /// # Errors
    /// When the folder of layers cannot be read.
    pub fn all(&self) -> Result<Vec<LayerId>> {
        let entries = fs::read_dir(&self.dir).or_cannot("list", self.dir.display())?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// Removes a layer. It is renamed first, so that it is never incomplete under its name.
    ///
    /// # Errors
    /// `ENOENT` when it is not there; `EROFS`, `EBUSY` … with the path.
    pub fn remove(&self, id: &LayerId) -> Result<()> {
        let (dir, away) = (self.dir.join(id.to_string()), self.building.join(format!("{id}.removed")));
        step!("layer.remove", call: "rename(\"{}\", \"{}\"); unlink …", dir.display(), away.display();
            why: "its name goes at once, so that it is never there in part"; shell: "rm -r {}", dir.display());
        fs::rename(&dir, &away).or_cannot("remove", dir.display())?;
        remove_tree(&away)
    }

    /// A draft to build the layer in; none if another build completed it meanwhile.
    fn draft(&self, id: &LayerId) -> Result<Option<Draft>> {
        let dir = self.building.join(id.to_string());
        step!("layer.begin", call: "mkdir(\"{}\"); flock(it, LOCK_EX)", dir.display();
            why: "one build creates a layer, others that need it wait; the next build removes unlocked leftovers";
            shell: "mkdir {0}; exec 9< {0}; flock 9", dir.display());
        let lock = Lock::new_folder(&dir)?;
        // From now on dropping it removes the folder.
        let draft = Draft { dir, lock };
        if self.has(id) {
            return Ok(None);
        }
        draft.prepare()?;
        Ok(Some(draft))
    }

    /// Removes leftovers of killed builds: unlocked folders under `building`.
    fn sweep(&self) -> Result<()> {
        for (folder, _held) in Lock::leftovers(&self.building, |_| true)? {
            // Failure only costs disk space.
            if let Err(error) = remove_tree(&folder) {
                remark(format_args!("cannot remove leftovers of a build yet: {}", line(&error)));
            }
        }
        Ok(())
    }
}

impl Draft {
    /// The folder for the layer's files: there, empty, and mode 755, as a root has to be for users other than root.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// An empty folder beside it on the same file system, as overlay wants one while it writes into a layer.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// An empty folder, the mount point of the whole tree.
    pub fn place(&self) -> PathBuf {
        self.dir.join("place")
    }

    /// A log file for the tool that fills it.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Empties leftovers of a killed build.
    fn prepare(&self) -> Result<()> {
        for folder in [self.root(), self.work(), self.place()] {
            remove_tree(&folder)?;
            make_folder(&folder)?;
        }
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.root(), mode).or_cannot("set the mode of", self.root().display())
    }

    /// Moves the complete layer to its place.
    fn keep(self, record: &LayerRecord, place: &Path) -> Result<()> {
        for folder in [self.work(), self.place()] {
            remove_tree(&folder)?;
        }
        let _ = fs::remove_file(self.log());
        record::save(record, &self.dir)?;
        step!("layer.keep",
            call: "syncfs(\"{}\"); rename(\"{}\", \"{}\")", self.dir.display(), self.dir.display(), place.display();
            why: "a layer is in its place whole or not at all; the data goes to disk first, or after a power cut its files were empty";
            shell: "sync -f {}; mv {} {}", self.dir.display(), self.dir.display(), place.display());
        File::open(&self.dir)
            .and_then(|folder| rustix::fs::syncfs(folder).map_err(Into::into))
            .or_cannot("write to disk", self.dir.display())?;
        fs::rename(&self.dir, place).or_cannot("put a layer at", place.display())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` the folder is gone, or belongs to the next build: then it is not ours.
        if self.lock.is_still_at(&self.dir) {
            // The next build removes what cannot be removed now.
            let _ = remove_tree(&self.dir);
        }
    }
}

/// Size of a file tree on disk; a file with several hard links counts once.
///
/// # Errors
/// Those of getdents64(2) and stat(2), with the path.
pub fn size_on_disk(tree: &Path) -> Result<u64> {
    /// st_blocks counts in these, whatever the file system's own block size. See stat(2).
    const BLOCK: u64 = 512;
    let (mut blocks, mut several_names) = (0, HashSet::new());
    let folder = File::open(tree).or_cannot("open", tree.display())?;
    let entry = Entry::new(folder.as_fd(), OsStr::new("."), tree.display().to_string());
    walk(&entry, &mut |_, about, _| {
        let is_file = about.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR;
        if !is_file || about.st_nlink == 1 || several_names.insert(rooted::file_id(about)) {
            blocks += about.st_blocks as u64;
        }
        Ok(true)
    })?;
    Ok(BLOCK * blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It checks before the layer exists, and creates a folder to lock afterwards.
    #[test]
    fn a_build_that_loses_the_race_for_a_layer_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::open(&Store::open(root.path()).unwrap()).unwrap();
        let id: LayerId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        layers.get_or_make(&id, None, "nothing", |_| Ok(())).unwrap();
        assert!(layers.draft(&id).unwrap().is_none());
        assert_eq!(fs::read_dir(&layers.building).unwrap().count(), 0);
    }
}
