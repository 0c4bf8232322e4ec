//! Version 1: a hierarchy for each controller, mounted below /sys/fs/cgroup under the controller's name.

use std::path::Path;

use super::{Controller, Directory, Version, v2};

/// `CGROUP_SUPER_MAGIC` of linux/magic.h; see statfs(2).
const MAGIC: i64 = 0x0027_e0eb;

/// The directory `name` at the root of a controller's hierarchy; none if that is not mounted.
pub(super) fn directory(controller: Controller, name: &str) -> Option<Directory> {
    let tree = Path::new(v2::UNIFIED).join(controller.name());
    let path = tree.join(name);
    v2::is_mounted(&tree, MAGIC).then_some(Directory { path, version: Version::V1, controllers: vec![controller] })
}
