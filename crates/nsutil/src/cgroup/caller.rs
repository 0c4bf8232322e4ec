//! The cgroup hierarchies that the calling process can see, and its own cgroup in each.
//!
//! Limits of the caller should also hold for what it starts, so new cgroups are created below the caller's own, or as
//! near to it as the rules of v2 allow (see `v2`).
//!
//! Look: `cat /proc/self/cgroup /proc/self/mountinfo`. Manual: cgroups(7) "/proc files", proc_pid_mountinfo(5).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use procfs::process::Process;

use super::{Controller, Version, v2};
use crate::error::{Error, OrCannot, Result};

/// A cgroup hierarchy, as far as this process sees it.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The calling process's own cgroup below `mount`.
    own: PathBuf,
    /// In v1, the controllers attached to it.
    bound: Vec<String>,
}

impl Hierarchy {
    /// The cgroup below which to create ours: the nearest ancestor in which nothing has to be changed; otherwise the
    /// nearest that can be changed.
    pub(super) fn parent_for(&self, controllers: &[Controller]) -> Result<PathBuf> {
        if self.version == Version::V1 {
            // Every v1 cgroup has its hierarchy's controllers.
            return self.ancestors().next().ok_or(Errno::ENOENT).or_cannot("look at", self.mount.display());
        }
        let is_ready = |parent: &PathBuf| v2::missing_for_children(parent, controllers) == Ok(Vec::new());
        if let Some(ready) = self.ancestors().find(is_ready) {
            return Ok(ready);
        }
        let mut refusal = Error::new("look at", self.mount.display(), Errno::ENOENT);
        for parent in self.ancestors() {
            match v2::enable_for_children(&parent, controllers) {
                Ok(()) => return Ok(parent),
                // The outermost cgroup's error is the most useful: what is missing there is missing further in as well.
                Err(error) => refusal = error,
            }
        }
        let names = controllers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Err(Error::new("limit", names, refusal))
    }

    /// The caller's cgroup and its ancestors, innermost first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = PathBuf> {
        // Rebuilt from its components, so that the mount point gets no trailing slash.
        self.own.ancestors().map(|path| self.mount.join(path).components().collect())
    }
}

/// The hierarchies mounted where this process can reach them.
pub(super) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let unreadable = |error: procfs::ProcError| error.to_string();
    let me = Process::myself().map_err(unreadable).or_cannot("look at", "/proc/self")?;
    let mounts = me.mountinfo().map_err(unreadable).or_cannot("read", "/proc/self/mountinfo")?;
    let own = me.cgroups().map_err(unreadable).or_cannot("read", "/proc/self/cgroup")?;
    let hierarchy = |mount: procfs::process::MountInfo| {
        let version = match mount.fs_type.as_str() {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        // A mount can be hidden by a later one at the same path; then the path leads to the other. A file is not a
        // hierarchy.
        let device = fs::metadata(&mount.mount_point).ok().filter(|about| about.is_dir())?.dev();
        let device = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let bound: Vec<String> = mount.super_options.into_keys().collect();
        let is_this = |own: &&procfs::ProcessCGroup| match version {
            Version::V1 => own.hierarchy != 0 && own.controllers.iter().all(|name| bound.contains(name)),
            Version::V2 => own.hierarchy == 0,
        };
        let own = own.0.iter().find(is_this)?;
        (device == mount.majmin).then(|| Hierarchy {
            version,
            own: below(Path::new(&own.pathname), Path::new(&mount.root)),
            mount: mount.mount_point,
            bound,
        })
    };
    Ok(mounts.0.into_iter().filter_map(hierarchy).collect())
}

/// A cgroup's path below a mount that shows the hierarchy from `top` on; the mount itself if the cgroup is outside of
/// it.
///
/// In a cgroup namespace both paths are relative to its root: a process outside has a path that begins with `/..`.
fn below(own: &Path, top: &Path) -> PathBuf {
    let inside = own.strip_prefix(top).unwrap_or(Path::new(""));
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain { inside.to_owned() } else { PathBuf::new() }
}

/// Finds the hierarchy with a controller; the error says where the controller is if that is not mounted.
pub(super) fn find_hierarchy(hierarchies: &[Hierarchy], controller: Controller) -> Result<&Hierarchy> {
    let name = controller.to_string();
    let has_it = |hierarchy: &&Hierarchy| match hierarchy.version {
        Version::V1 => hierarchy.bound.contains(&name),
        Version::V2 => fs::read_to_string(hierarchy.mount.join("cgroup.controllers"))
            .is_ok_and(|controllers| controllers.split_whitespace().any(|other| other == name)),
    };
    if let Some(hierarchy) = hierarchies.iter().find(has_it) {
        return Ok(hierarchy);
    }
    let known = procfs::cgroups().map(|all| all.0).unwrap_or_default();
    let known = known.into_iter().find(|known| known.name == name);
    let v2 = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    let (reason, cure) = match (known, v2) {
        (None, _) => ("this kernel has no such controller".to_owned(), "use another kernel".to_owned()),
        (Some(known), _) if !known.enabled => {
            ("it is disabled".to_owned(), format!("boot the kernel without cgroup_disable={name}"))
        }
        (Some(known), _) if known.hierarchy != 0 => (
            format!("it is attached to cgroup v1 hierarchy {}, which is not mounted here", known.hierarchy),
            format!("mount it: mkdir /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}"),
        ),
        (Some(_), None) => (
            "it is in cgroup v2, which is not mounted here".to_owned(),
            "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned(),
        ),
        (Some(_), Some(v2)) => (
            format!("it is in cgroup v2, but not available in {}", v2.mount.display()),
            format!(
                "outside of this container: echo +{name} > cgroup.subtree_control, in each cgroup from the root down"
            ),
        ),
    };
    Err(Error::new("limit", name, reason).hint(cure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::line;
    use tempfile::TempDir;

    /// A v2 tree made of plain files: each cgroup's `cgroup.controllers`, `cgroup.subtree_control` and `cgroup.procs`.
    fn hierarchy(own: &str, cgroups: &[(&str, [&str; 3])]) -> (TempDir, Hierarchy) {
        let folder = TempDir::new().unwrap();
        for (path, [controllers, enabled, procs]) in cgroups {
            let directory = folder.path().join(path);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup.controllers"), controllers).unwrap();
            fs::write(directory.join("cgroup.subtree_control"), enabled).unwrap();
            fs::write(directory.join("cgroup.procs"), procs).unwrap();
            if !path.is_empty() {
                fs::write(directory.join("cgroup.type"), "domain\n").unwrap();
            }
        }
        let hierarchy =
            Hierarchy { version: Version::V2, mount: folder.path().to_owned(), own: own.into(), bound: Vec::new() };
        (folder, hierarchy)
    }

    #[test]
    fn a_parent_that_is_ready_is_preferred_to_one_nearer_that_would_have_to_be_changed() {
        let (folder, hierarchy) = hierarchy(
            "slice/empty/session",
            &[
                ("", ["cpu pids", "cpu pids", "1"]),
                ("slice", ["cpu pids", "cpu", ""]),
                ("slice/empty", ["cpu", "", ""]),
                ("slice/empty/session", ["", "", "7"]),
            ],
        );
        assert_eq!(hierarchy.parent_for(&[Controller::Cpu]).unwrap(), folder.path().join("slice"));
        assert_eq!(hierarchy.parent_for(&[Controller::Cpu, Controller::Pids]).unwrap(), folder.path());
        assert_eq!(hierarchy.parent_for(&[]).unwrap(), folder.path().join("slice/empty/session"));
        assert_eq!(
            fs::read_to_string(folder.path().join("slice/empty/cgroup.subtree_control")).unwrap(),
            "",
            "nothing was changed"
        );
    }

    #[test]
    fn only_what_is_missing_is_enabled_and_never_where_processes_are() {
        let (folder, hierarchy) = hierarchy("box", &[("", ["cpu pids", "pids", "1"]), ("box", ["cpu pids", "", "7"])]);
        assert_eq!(hierarchy.parent_for(&[Controller::Cpu, Controller::Pids]).unwrap(), folder.path());
        assert_eq!(fs::read_to_string(folder.path().join("cgroup.subtree_control")).unwrap(), "+cpu");
        assert_eq!(
            fs::read_to_string(folder.path().join("box/cgroup.subtree_control")).unwrap(),
            "",
            "it has a process"
        );
    }

    #[test]
    fn a_controller_that_cannot_be_had_is_named_with_the_reason() {
        let (folder, hierarchy) = hierarchy("", &[("", ["pids", "", "1"])]);
        let told = line(&hierarchy.parent_for(&[Controller::Cpu]).unwrap_err());
        let start = format!("cannot limit cpu: cannot enable +cpu for children of {}", folder.path().display());
        assert!(told.starts_with(&start) && told.contains(": it has no cpu controller itself; "), "{told}");
        // As at the root of a cgroup namespace: not the real root, and the caller is in it.
        fs::write(folder.path().join("cgroup.type"), "domain\n").unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let told = line(&hierarchy.parent_for(&[Controller::Cpu]).unwrap_err());
        assert!(
            told.contains("there are processes in it") && told.contains("; move them to a child: mkdir "),
            "{told}"
        );
        fs::write(folder.path().join("cgroup.type"), "domain threaded\n").unwrap();
        let told = line(&hierarchy.parent_for(&[Controller::Cpu]).unwrap_err());
        assert!(told.contains("it is of type \"domain threaded\""), "{told}");
    }

    #[test]
    fn an_unknown_controller_is_an_error() {
        let told = line(&find_hierarchy(&[], Controller::Cpu).unwrap_err());
        assert!(told.starts_with("cannot limit cpu: ") && told.contains("; "), "{told}");
    }

    #[test]
    fn the_own_cgroup_is_found_below_a_partial_mount_of_the_hierarchy() {
        let below = |own: &str, top: &str| below(Path::new(own), Path::new(top));
        assert_eq!(below("/", "/"), Path::new(""));
        assert_eq!(below("/user.slice/session", "/"), Path::new("user.slice/session"));
        assert_eq!(below("/docker/abc/x", "/docker/abc"), Path::new("x"));
        assert_eq!(below("/docker/abc", "/docker/other"), Path::new(""));
        assert_eq!(below("/../init", "/"), Path::new(""), "outside of the cgroup namespace");
    }
}
