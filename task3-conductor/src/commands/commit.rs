//! `conductor commit NAME IMAGE`: what a container has changed becomes an image.
//!
//! All that it wrote is in the upper of its overlay, deletions too (as whiteouts). A copy of that is one more layer on top
//! of those that it was made of.

use std::process::ExitCode;

use nsutil::error::Result;
use nsutil::rooted::copy::copy_everything;

use crate::cli::say;
use crate::image::layer::{Key, Layers};
use crate::name::{ContainerName, ImageName};
use crate::record::ImageRecord;
use crate::store::Store;

/// Make an image of a container as it is now: its image, with all that it has changed
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor exec eg -- apt-get install -y nginx && conductor commit eg nginx
  conductor commit eg snapshot && conductor run snapshot again
A container that runs may go on writing meanwhile; for a picture of one moment let it end first.
Volumes are not part of it.")]
pub struct Commit {
    /// Container to take the changes of
    name: ContainerName,
    /// Name for the image; one of that name is replaced
    image: ImageName,
}

impl Commit {
    /// Makes the image.
    ///
    /// # Errors
    /// In words when there is no such container; `ENOSPC` ….
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        // Nobody stops it while its files are copied.
        let _lock = store.lock_container(&self.name)?;
        let record = store.container(&self.name)?;
        let layers = Layers::open(store)?;
        let now = jiff::Timestamp::now();
        // Each is another, also of the same container: nothing else leads to these files.
        let key = Key::of("commit").with(self.name.as_str()).with(&record.init.boot_id);
        let id = key.with(record.init.start_time.to_le_bytes()).with(now.as_nanosecond().to_le_bytes()).id();
        let upper = store.container_dir(&self.name).join("upper");
        let made_by = format!("commit {}", self.name);
        layers.get_or_make(&id, record.layers.first(), &made_by, |draft| copy_everything(&upper, &draft.root()))?;
        let mut environment = record.environment;
        // That was the kind of somebody's terminal.
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
