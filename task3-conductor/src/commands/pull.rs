//! `conductor pull REF [IMAGE]`: an image from a registry.

use std::process::ExitCode;

use nsutil::error::Error;

use crate::image::layer::Layers;
use crate::image::progress::Progress;
use crate::oci::registry::{Trust, pull, record};
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ImageName;
use crate::spec::reference::Reference;
use crate::store::Store;

/// Fetch an image from a registry, by skopeo
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor pull alpine:3.20                  the image alpine-3.20, from Docker Hub
  conductor pull quay.io/fedora/fedora base   the image base
  conductor pull --insecure localhost:5000/web
Logins, mirrors and registries without TLS: skopeo-login(1), /etc/containers/registries.conf.")]
pub struct Pull {
    /// What it is called there: NAME, NAME:TAG, HOST:PORT/NAME or NAME@DIGEST
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Name for the image; if left out, NAME, or NAME-TAG. One of that name is replaced
    image: Option<ImageName>,
    /// Take a registry without TLS, or with a certificate that nobody vouches for
    #[arg(long)]
    insecure: bool,
}

impl Pull {
    /// Fetches it and makes an image of it.
    ///
    /// # Errors
    /// Those of [`pull`]; in words when it cannot be called as it is called there.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let name = self.image.or_else(|| self.reference.image_name());
        let name = name.ok_or_else(|| {
            let unnamed = Error::new("name", &self.reference, "no image here can be called so");
            unnamed.hint(format_args!("conductor pull {} IMAGE", self.reference.as_str()))
        })?;
        let layers = Layers::open(store)?;
        let trust = if self.insecure { Trust::Nobodys } else { Trust::Usual };
        let mut progress = Progress::on_stderr();
        let pulled = pull(store, &layers, &self.reference, trust, &mut progress);
        progress.clear();
        match pulled {
            Ok(loaded) => {
                store.save_image(&record(name.clone(), self.reference.to_string(), &loaded))?;
                say(&format!("Pulled image {name} from {}\n", self.reference))?;
            }
            Err(error) => return Err(super::broken_off(error)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}
