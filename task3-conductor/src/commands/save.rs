//! `conductor save IMAGE -o FILE|DIR`: an image for other tools.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::image::interrupt;
use crate::oci::save::save;
use crate::oci::watch::Watch;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ImageName;
use crate::store::Store;

/// Write an image for Docker, Podman, Kubernetes: an OCI image layout or an archive of one
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor save web -o web.tar               an archive: podman load -i web.tar, skopeo copy oci-archive:web.tar …
  conductor save web -o web/                  a folder: skopeo copy oci:web docker://registry.example/web
It prints the image's digest. The same image gives the same digest.")]
pub struct Save {
    /// Image to write
    image: ImageName,
    /// Where to: a file, or a folder if it ends in / or is an empty one
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,
}

impl Save {
    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// In words when there is no such image; those of [`save`].
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let image = store.image(&self.image)?;
        let saved =
            interrupt::with_signals_blocked(|requests| save(store, &image, &self.output, &Watch::new(requests)));
        match saved {
            Ok(digest) => say(&format!("{digest}\n"))?,
            Err(error) => return Err(super::broken_off(error)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}
