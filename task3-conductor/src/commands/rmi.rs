//! `conductor rmi IMAGE…`: remove images.

use std::process::ExitCode;

use nsutil::error::{Error, Result};

use super::each;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ImageName;
use crate::store::Store;

/// Remove images; their layers stay in the cache until `rmcache`
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor rmi mydebian
  conductor rmi web db && conductor rmcache")]
pub struct Rmi {
    /// Images to remove
    #[arg(required = true)]
    images: Vec<ImageName>,
}

impl Rmi {
    /// Removes each of them.
    ///
    /// # Errors
    /// When an image does not exist or a container uses it; the others are removed.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.images, |image| {
            remove(store, image)?;
            // Spelled as the published labs print it.
            say(&format!("{image} succesfully removed\n"))
        })
    }
}

/// Images built from this one do not prevent it: each has its own list of all its layers, and `rmcache` asks every
/// image before it removes a layer.
fn remove(store: &Store, image: &ImageName) -> Result<()> {
    let containers = store.containers()?.into_iter();
    let users: Vec<String> = containers
        .filter(|(_, record)| record.as_ref().is_ok_and(|record| record.image == *image))
        .map(|(name, _)| name.to_string())
        .collect();
    if !users.is_empty() {
        let used = format!("containers use it: {}", users.join(", "));
        let refused = Error::new("remove", format_args!("image {image}"), used);
        return Err(refused.hint(format_args!("`conductor stop {}` first", users.join(" "))));
    }
    store.remove_image(image)
}
