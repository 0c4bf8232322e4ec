//! Version 2: one hierarchy, in which a parent enables controllers for its children.
//!
//! Forgetting that is the most common mistake: without `+cpu` in the parent's `cgroup.subtree_control` there is no
//! `cpu.max`. And except for the root, a cgroup that enables controllers cannot have processes of its own (cgroups(7),
//! "no internal processes").

use std::fs;
use std::path::Path;

use super::{Controller, Directory, Version};
use crate::error::{Error, OrCannot, Result};
use crate::step;
use crate::syscall::write_existing;

/// Mount point of v2; on a host with v1, the v1 hierarchies are mounted below it.
pub(super) const UNIFIED: &str = "/sys/fs/cgroup";
const BESIDE_V1: &str = "/sys/fs/cgroup/unified";
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h; see statfs(2).
const MAGIC: i64 = 0x6367_7270;

/// The directory `name` at the root of the hierarchy; none if v2 is not mounted.
pub(super) fn directory(name: &str) -> Option<Directory> {
    let tree = [UNIFIED, BESIDE_V1].map(Path::new).into_iter().find(|tree| is_mounted(tree, MAGIC))?;
    Some(Directory { path: tree.join(name), version: Version::V2, controllers: Vec::new() })
}

pub(super) fn is_mounted(tree: &Path, magic: i64) -> bool {
    rustix::fs::statfs(tree).is_ok_and(|stat| stat.f_type == magic)
}

/// Those of `controllers` that children of a cgroup would lack.
pub(super) fn missing_for_children(parent: &Path, controllers: &[Controller]) -> Result<Vec<Controller>> {
    // A new cgroup in a threaded subtree accepts no processes. The root has no such file.
    if let Ok(kind) = fs::read_to_string(parent.join("cgroup.type")) {
        if kind.trim() != "domain" {
            let reason = format!("it is of type \"{}\" and can have no processes below it", kind.trim());
            return Err(Error::new("make a cgroup in", parent.display(), reason));
        }
    }
    let enabled = read(&parent.join("cgroup.subtree_control"))?;
    Ok(without(controllers, &enabled))
}

/// Enables the missing ones of `controllers` for the children of a cgroup.
///
/// In words when the cgroup lacks a controller itself, or has processes.
pub(super) fn enable_for_children(parent: &Path, controllers: &[Controller]) -> Result<()> {
    let missing = missing_for_children(parent, controllers)?;
    if missing.is_empty() {
        return Ok(());
    }
    let shown = parent.display();
    let names = missing.iter().map(|controller| format!("+{controller}")).collect::<Vec<_>>().join(" ");
    let attempt = format!("enable {names} for children of");
    let available = read(&parent.join("cgroup.controllers"))?;
    if let Some(controller) = without(&missing, &available).first() {
        let reason = format!("it has no {controller} controller itself");
        return Err(Error::new(attempt, shown, reason)
            .hint("enable it in the parent cgroup, outside of this shell or container"));
    }
    // The kernel would refuse if it has processes, or worse: for some controllers it would succeed, make the cgroup
    // threaded, and then refuse processes below it. Only the root may have both.
    let is_root = !parent.join("cgroup.type").exists();
    if !is_root && !read(&parent.join("cgroup.procs"))?.trim().is_empty() {
        return Err(Error::new(attempt, &shown, "there are processes in it (see cgroups(7), \"no internal processes\")")
            .hint(format_args!(
                "move them to a child: mkdir {shown}/init, then write each PID in its cgroup.procs to {shown}/init/cgroup.procs"
            )));
    }
    step!("cgroup.enable", call: "write(\"{shown}/cgroup.subtree_control\", \"{names}\")";
        why: "a v2 cgroup has only the controllers that its parent enables; without this the limit's file does not exist";
        shell: "echo {names} > {shown}/cgroup.subtree_control");
    write_existing(&parent.join("cgroup.subtree_control"), &names).or_cannot(attempt, shown)
}

/// Those of `controllers` that are not in `named`, a list from the kernel.
fn without(controllers: &[Controller], named: &str) -> Vec<Controller> {
    let is_missing = |controller: &Controller| !named.split_whitespace().any(|name| name == controller.name());
    controllers.iter().copied().filter(is_missing).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).or_cannot("read", path.display())
}
