//! `conductor rmi IMAGE…`: forget images.

use std::process::ExitCode;

use nsutil::error::{Error, Result};

use crate::cli::say;
use crate::failure::Failure;
use crate::name::ImageName;
use crate::store::Store;

/// Remove images; their layers stay in the cache until `rmcache`
#[derive(clap::Args)]
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
        let mut failed = None;
        for image in &self.images {
            match remove(store, image) {
                // Spelled as the published labs print it.
                Ok(()) => say(&format!("{image} succesfully removed\n"))?,
                Err(error) => {
                    let failure = Failure::from(error);
                    failure.tell();
                    failed = Some(Failure::told(failure.code().into()));
                }
            }
        }
        failed.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

/// Images made from this one do not count: they have their own list of the layers that they share with it.
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
