//! `conductor build IMAGE [CONDUCTORFILE]`: make an image.

use std::process::ExitCode;

use nsutil::Result;

use crate::cli::say;
use crate::image::base::Base;
use crate::image::build;
use crate::name::ImageName;
use crate::store::Store;

/// Make an image
#[derive(clap::Args)]
pub struct Build {
    /// Name for the image
    image: ImageName,
    /// What the image begins with: debian:SUITE, ubuntu:SUITE, host, scratch, or another image
    #[arg(long, value_name = "BASE")]
    from: Base,
}

impl Build {
    /// Makes the image.
    ///
    /// # Errors
    /// Those of [`build::build`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let record = build::build(store, &self.image, &self.from)?;
        say(&format!("Built image {} from {}\n", record.name, record.from))?;
        Ok(ExitCode::SUCCESS)
    }
}
