//! Cgroups: how much of the machine a set of processes may use.
//!
//! A cgroup is a directory in a special file system. Each process is in one; a child starts in its parent's. The files
//! of the directory apply to all its processes together: `cpu.max` with `50000 100000` gives them 50 ms of CPU time in
//! each 100 ms, half a core, however many they are.
//!
//! There are two versions. **v2** has one hierarchy, and a controller (`cpu`, `pids`, …) is available in a directory
//! only if the parent enables it in `cgroup.subtree_control`. **v1** has a hierarchy for each controller. A controller
//! is in one version or the other, and a machine can mix them. A [`Cgroup`] has one directory in each hierarchy it
//! needs.
//!
//! clone3(2) can create a child in a v2 cgroup (`CLONE_INTO_CGROUP`), so that no instruction of the child runs without
//! the limit. In v1 the child writes `0` to `cgroup.procs` before it does anything else ([`crate::process::spawn`] does
//! both).
//!
//! | file | |
//! |---|---|
//! | this one | the type, and what the kernel counts for it |
//! | `limits` | sets limits and reads each back |
//! | `freeze` | freezes and thaws its processes |
//! | `kill` | kills the processes of a directory and removes it |
//! | `v1`, `v2` | where the hierarchies are mounted; enabling controllers |
//! | `caller` | the cgroups around the calling process |
//! | `owner` | cgroups that a killed program has left behind |
//!
//! Look: `cat /proc/self/cgroup`, `cat /sys/fs/cgroup/NAME/{cpu.max,cgroup.procs}`. Manual: cgroups(7),
//! cgroup_namespaces(7); the kernel's documents "Control Group v2" and "CFS Bandwidth Control".

mod caller;
mod freeze;
mod kill;
mod limits;
mod owner;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Error, OrCannot, Result};
use crate::step;
use caller::Hierarchy;
use owner::Owner;

pub use limits::{Controller, Limits, Quota};

/// A cgroup. One made by [`Cgroup::create`] is removed when dropped, and its processes are killed.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<Directory>,
    is_owned: bool,
}

/// A cgroup's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    version: Version,
    /// The controllers of its v1 hierarchy; empty in v2, which has all in one.
    controllers: Vec<Controller>,
}

/// Cgroup version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

impl Cgroup {
    /// Creates a cgroup with these controllers and no limits, below the caller's, named `docker-lite-NAME-…` after the
    /// creating process.
    ///
    /// It is created in the nearest ancestor of the caller that allows it, so the caller's limits apply as far as
    /// possible. In v2 that may require enabling a controller for the ancestor's children, which is not undone: others
    /// may rely on it by then. Cgroups of the same name whose creator has died are removed first.
    ///
    /// # Errors
    /// In words when a controller is not available, with where it is and what to do; `EACCES`, `EPERM`, `EROFS` when
    /// the cgroup may not be created.
    pub fn create(name: &str, controllers: &[Controller]) -> Result<Self> {
        let hierarchies = caller::hierarchies()?;
        let mut wanted: BTreeMap<PathBuf, (&Hierarchy, Vec<Controller>)> = BTreeMap::new();
        for controller in controllers {
            let hierarchy = caller::find_hierarchy(&hierarchies, *controller)?;
            wanted.entry(hierarchy.mount.clone()).or_insert((hierarchy, Vec::new())).1.push(*controller);
        }
        let owner = Owner::this_process()?;
        let mut cgroup = Self { directories: Vec::new(), is_owned: true };
        for (hierarchy, controllers) in wanted.into_values() {
            let parent = hierarchy.parent_for(&controllers)?;
            hierarchy.ancestors().for_each(|folder| owner::remove_leftovers(&folder, name, &owner));
            let path = parent.join(format!("{}-{name}-{owner}", owner::PREFIX));
            let directory = Directory { path, version: hierarchy.version, controllers };
            directory.make()?;
            cgroup.directories.push(directory);
        }
        Ok(cgroup)
    }

    /// Creates a cgroup with the cpu controller and no limit: [`Cgroup::directory`] has the files for it.
    ///
    /// # Errors
    /// Those of [`Cgroup::create`].
    pub fn for_cpu(name: &str) -> Result<Self> {
        Self::create(name, &[Controller::Cpu])
    }

    /// The cgroup `name` at the root of the hierarchies. It may or may not exist, and is not removed when this value is
    /// dropped. Where v1 is used it has a directory in the hierarchy of each of `controllers`, and in those where it
    /// already exists.
    ///
    /// The hierarchies are expected where every distribution mounts them, not looked up in mountinfo: with hundreds of
    /// containers that is long, and would slow down each start.
    ///
    /// # Errors
    /// In words when this host has no cgroups.
    pub fn at_root(name: &str, controllers: &[Controller]) -> Result<Self> {
        let mut directories: Vec<Directory> = v2::directory(name).into_iter().collect();
        if !directories.iter().any(Directory::is_unified) {
            // Without v2, the `pids` hierarchy knows the members.
            let knows_members = |controller| directories.is_empty() && controller == Controller::Pids;
            let in_v1: Vec<Directory> = Controller::ALL
                .into_iter()
                .filter_map(|controller| {
                    let is_needed = controllers.contains(&controller) || knows_members(controller);
                    v1::directory(controller, name).filter(|directory| is_needed || directory.path.exists())
                })
                .collect();
            directories.extend(in_v1);
        }
        if directories.is_empty() {
            return Err(Error::new("find", "cgroups", "none are mounted at /sys/fs/cgroup")
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        }
        Ok(Self { directories, is_owned: false })
    }

    /// Creates its missing directories.
    ///
    /// # Errors
    /// `EROFS`, `EACCES` where cgroups may not be created.
    pub fn make(&self) -> Result<()> {
        self.directories.iter().try_for_each(|directory| match directory.make() {
            Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
            made => made,
        })
    }

    /// Sets the limit of one controller, and enables the controller first if needed.
    ///
    /// # Errors
    /// In words when no hierarchy has the controller, or the kernel holds another value than was written; `EINVAL` for
    /// an invalid value.
    pub fn limit(&self, controller: Controller, limits: &Limits) -> Result<()> {
        let of_its_own = self.directories.iter().find(|directory| directory.controllers.contains(&controller));
        let attempt = "limit by";
        let what = format!("the {controller} controller");
        let Some(directory) = of_its_own.or_else(|| self.in_v2()) else {
            return Err(Error::new(attempt, &what, format!("no cgroup hierarchy has the {controller} controller")));
        };
        match directory.limit(controller, limits) {
            // The parent has to enable the controller first.
            Err(error) if error.errno() == Some(Errno::ENOENT) && directory.version == Version::V2 => {
                let parent = directory.path.parent().unwrap_or(&directory.path);
                v2::enable_for_children(parent, &[controller]).or_cannot(attempt, &what)?;
                directory.limit(controller, limits)
            }
            outcome => outcome,
        }
    }

    /// Whether one of its directories can have this controller.
    pub fn supports(&self, controller: Controller) -> bool {
        self.directories.iter().any(|directory| directory.is_unified() || directory.controllers.contains(&controller))
    }

    /// Opens the v2 directory, the `cgroup` of clone3(2). None when all its directories are in v1.
    ///
    /// # Errors
    /// `ENOENT` when the cgroup has been removed.
    pub fn clone_target(&self) -> Result<Option<File>> {
        self.in_v2()
            .map(|directory| File::open(&directory.path).or_cannot("open", directory.path.display()))
            .transpose()
    }

    /// Opens the `cgroup.procs` of its v1 directories: a process joins by writing `0`, even when it can no longer see
    /// the file. See [`crate::process::join_cgroup`].
    ///
    /// # Errors
    /// `ENOENT` when the cgroup has been removed.
    pub fn procs_files(&self) -> Result<Vec<File>> {
        let in_v1 = self.directories.iter().filter(|directory| directory.version == Version::V1);
        in_v1
            .map(|directory| {
                let file = directory.path.join("cgroup.procs");
                File::options().write(true).open(&file).or_cannot("open", file.display())
            })
            .collect()
    }

    /// Its directory in v1, if it has one; a user who expects v2 should be told.
    pub fn directory_in_v1(&self) -> Option<&Path> {
        let in_v1 = self.directories.iter().find(|directory| directory.version == Version::V1);
        in_v1.map(|directory| directory.path.as_path())
    }

    /// Its directory; the first one, if it has several.
    pub fn directory(&self) -> &Path {
        // It always has at least one until it is removed.
        self.directories.first().map_or(Path::new(""), |directory| &directory.path)
    }

    /// Its directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(|directory| directory.path.as_path())
    }

    /// Number of its processes killed because of its memory limit; none without a limit.
    pub fn out_of_memory_kills(&self) -> Option<u64> {
        self.directories.iter().find_map(|directory| {
            directory.value_of(directory.file_by_version("memory.oom_control", "memory.events"), "oom_kill")
        })
    }

    /// Current memory usage in bytes; none if the kernel does not count it.
    pub fn memory_bytes_now(&self) -> Option<u64> {
        self.directories.iter().find_map(|directory| {
            let file = directory.file_by_version("memory.usage_in_bytes", "memory.current");
            directory.read(file)?.trim().parse().ok()
        })
    }

    /// CPU time used by its processes, in microseconds; none without v2, which counts it even without the cpu
    /// controller.
    pub fn cpu_time_us(&self) -> Option<u64> {
        self.directories.iter().find_map(|directory| directory.value_of("cpu.stat", "usage_usec"))
    }

    /// The PIDs of its processes.
    pub fn members(&self) -> Vec<i32> {
        let list_pids =
            self.directories.first().and_then(|directory| directory.read("cgroup.procs")).unwrap_or_default();
        list_pids.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Number of processes and threads; none when the cgroup has been removed.
    pub fn threads(&self) -> Option<usize> {
        self.directories.iter().find_map(|directory| {
            directory.read(directory.file_by_version("tasks", "cgroup.threads")).map(|text| text.lines().count())
        })
    }

    /// Kills all its processes, waits until none is left, and removes it; does nothing if it does not exist.
    ///
    /// # Errors
    /// `EBUSY` when processes do not exit: one may hang in the kernel (state `D` in ps); `EACCES`, `EPERM`, `EROFS`
    /// when it may not be removed. All directories are tried.
    pub fn remove(mut self) -> Result<()> {
        self.remove_directories()
    }

    fn in_v2(&self) -> Option<&Directory> {
        self.directories.iter().find(|directory| directory.version == Version::V2)
    }

    fn remove_directories(&mut self) -> Result<()> {
        let remove =
            |directory: Directory| kill::kill_all(&directory.path).and_then(|()| kill::remove(&directory.path));
        Error::all("remove", "the cgroup", self.directories.drain(..).map(remove))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.is_owned {
            // Use `remove` to get the error.
            let _ = self.remove_directories();
        }
    }
}

impl Directory {
    fn make(&self) -> Result<()> {
        let shown = self.path.display();
        step!("cgroup.create", call: "mkdir(\"{shown}\")";
            why: "a new directory is a new cgroup, empty and without limits; children of its processes are in it too";
            shell: "mkdir {shown}");
        fs::create_dir(&self.path).or_cannot("create the cgroup", shown).map_err(|error| match error.errno() {
            Some(Errno::EACCES | Errno::EPERM) => error.hint("this requires root: try with sudo"),
            Some(Errno::EROFS) => error.hint("the cgroup file system is mounted read-only here, as in most containers"),
            _ => error,
        })
    }

    fn limit(&self, controller: Controller, limits: &Limits) -> Result<()> {
        limits::set(&self.path, self.version, controller, limits)
    }

    /// Whether the host has only v2.
    fn is_unified(&self) -> bool {
        self.version == Version::V2 && self.path.parent() == Some(Path::new(v2::UNIFIED))
    }

    fn file_by_version(&self, v1: &'static str, v2: &'static str) -> &'static str {
        match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    /// The number after `key` in a file of lines `KEY VALUE`.
    fn value_of(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file)?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_from_either_version() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 1\n").unwrap();
        fs::write(folder.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n").unwrap();
        let of = |path: &Path, version| {
            let directory = Directory { path: path.to_owned(), version, controllers: Vec::new() };
            Cgroup { directories: vec![directory], is_owned: false }.out_of_memory_kills()
        };
        assert_eq!(of(folder.path(), Version::V2), Some(2));
        assert_eq!(of(folder.path(), Version::V1), Some(5));
        assert_eq!(of(Path::new("/nowhere"), Version::V1), None);
    }
}
