//! `conductor rmcache`: free the disk space of unused layers and packages.

use std::collections::HashSet;
use std::process::ExitCode;

use nsutil::Result;
use nsutil::rooted::remove_tree;

use super::size;
use crate::image::layer::{Layers, size_on_disk};
use crate::output::say;
use crate::store::Store;
use crate::store::layer_id::LayerId;

/// Remove cached layers and packages that no image or container uses
#[derive(clap::Args)]
#[command(after_help = "Example:
  conductor rmi mydebian && conductor rmcache")]
pub struct Rmcache {}

impl Rmcache {
    /// Removes them and prints how much space was freed.
    ///
    /// # Errors
    /// In words while a build is running, or when a damaged record hides which layers are used.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let layers = Layers::open_exclusive(store)?;
        let used = used(store)?;
        let (mut count, mut bytes) = (0_u64, 0);
        for id in layers.all()?.iter().filter(|id| !used.contains(id)) {
            bytes += layers.record(id).map_or(0, |record| record.size_bytes);
            layers.remove(id)?;
            count += 1;
        }
        let packages = store.packages_dir();
        let fetched = if packages.exists() { size_on_disk(&packages)? } else { 0 };
        remove_tree(&packages)?;
        remove_tree(&store.pulled_dir())?;
        say(&match (count, fetched) {
            (0, 0) => "Nothing to remove\n".to_owned(),
            (1, _) => format!("Removed 1 layer ({}) and fetched packages ({})\n", size(bytes), size(fetched)),
            _ => format!("Removed {count} layers ({}) and fetched packages ({})\n", size(bytes), size(fetched)),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Layers that an image or a container needs.
fn used(store: &Store) -> Result<HashSet<LayerId>> {
    let mut used = HashSet::new();
    for (name, record) in store.images()? {
        let hint = format!("`conductor rmi {name}` or build it again; until then it is unknown which layers it needs");
        used.extend(record.map_err(|error| error.hint(hint))?.layers);
    }
    for (name, record) in store.containers()? {
        let hint = format!("`conductor stop {name}`; until then it is unknown which layers it needs");
        used.extend(record.map_err(|error| error.hint(hint))?.layers);
    }
    Ok(used)
}
