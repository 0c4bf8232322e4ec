//! `conductor rmi IMAGE…`: forget images.

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
    /// Removes them, each for itself.
    ///
    /// # Errors
    /// When one was not removed, because a container uses it or there is none of that name; the others are.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.images, |image| {
            remove(store, image)?;
            // Spelled as the published labs print it.
            say(&format!("{image} succesfully removed\n"))
        })
    }
}

/// Images made from this one do not count: each has its own list of all its layers, those that it shares with this one
/// among them, and `rmcache` asks every image before it removes a layer.
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
