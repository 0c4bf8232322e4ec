//! `conductor commit NAME IMAGE`: what a container has changed becomes an image.
//!
//! Everything it wrote is in the upper directory of its overlay, deletions too (as whiteouts). A copy of that directory
//! becomes one more layer on top of the container's layers.

use std::process::ExitCode;

use nsutil::error::Result;
use nsutil::rooted::copy::copy_everything;

use crate::image::layer::{Key, Layers};
use crate::output::say;
use crate::spec::name::{ContainerName, ImageName};
use crate::store::Store;
use crate::store::record::ImageRecord;

/// Create an image from the current files of a container
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor exec eg -- apt-get install -y nginx && conductor commit eg nginx
  conductor commit eg snapshot && conductor run snapshot again
A running container may write during the copy; for a consistent image, pause it or let it exit first.
Volumes are not included.")]
pub struct Commit {
    /// Container whose changes are copied
    name: ContainerName,
    /// Name of the image; an existing image of that name is replaced
    image: ImageName,
}

impl Commit {
    /// Makes the image.
    ///
    /// # Errors
    /// In words when there is no such container; `ENOSPC` ….
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        // The lock keeps others from removing the container while its files are copied.
        let _lock = store.lock_container(&self.name)?;
        let record = store.container(&self.name)?;
        let layers = Layers::open(store)?;
        let now = jiff::Timestamp::now();
        // Each commit has its own key, even of the same container: no other layer may share these files.
        let key = Key::of("commit").with(self.name.as_str()).with(&record.init.boot_id);
        let id = key.with(record.init.start_time.to_le_bytes()).with(now.as_nanosecond().to_le_bytes()).id();
        let upper = store.container_dir(&self.name).join("upper");
        let made_by = format!("commit {}", self.name);
        layers.get_or_make(&id, record.layers.first(), &made_by, |draft| copy_everything(&upper, &draft.root()))?;
        let mut environment = record.environment;
        // TERM belonged to the caller's terminal.
        environment.remove("TERM");
        let image = ImageRecord {
            name: self.image,
            from: record.image.to_string(),
            layers: [vec![id], record.layers].concat(),
            created: now.as_second(),
            command: record.command,
            environment,
            working_directory: Some(record.working_directory),
            user: record.user,
        };
        store.save_image(&image)?;
        say(&format!("Built image {} from container {}\n", image.name, self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
