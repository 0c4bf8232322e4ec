//! `conductor load -i FILE|DIR [IMAGE]`: an image of other tools.

use std::path::PathBuf;
use std::process::ExitCode;

use nsutil::error::Error;

use crate::image::interrupt;
use crate::image::layer::Layers;
use crate::image::progress::Progress;
use crate::oci::layout::Layout;
use crate::oci::load::load;
use crate::oci::registry::record;
use crate::oci::watch::Watch;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ImageName;
use crate::spec::reference::name_after;
use crate::store::Store;

/// Read an image that another tool wrote: an OCI image layout, an archive of one, or what `docker save` writes
#[derive(clap::Args)]
#[command(after_help = "Examples:
  docker save web -o web.tar && conductor load -i web.tar
  skopeo copy docker://alpine oci:alpine && conductor load -i alpine small
Every digest is checked before anything is used. Layers that are there are not unpacked again.")]
pub struct Load {
    /// File or folder to read
    #[arg(short, long, value_name = "FILE|DIR")]
    input: PathBuf,
    /// Name for the image; if left out, the one it has there. One of that name is replaced
    image: Option<ImageName>,
    /// Which one, if there are several: the name it has there
    #[arg(long = "ref", value_name = "NAME")]
    reference: Option<String>,
}

impl Load {
    /// Reads it and makes an image of it.
    ///
    /// # Errors
    /// Those of [`load`]; in words when it has no name.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let layout = Layout::open(&self.input)?;
        let layers = Layers::open(store)?;
        let mut progress = Progress::on_stderr();
        let loaded = interrupt::with_signals_blocked(|requests| {
            let loaded =
                load(store, &layers, &layout, self.reference.as_deref(), &Watch::new(requests), &mut progress)?;
            let name = self.image.clone().or_else(|| loaded.name.as_deref().and_then(name_after));
            let name = name.ok_or_else(|| {
                let unnamed =
                    Error::new("name", format_args!("the image in {}", layout.shown()), "it has no name there");
                unnamed.hint(format_args!("conductor load -i {} IMAGE", layout.shown()))
            })?;
            store.save_image(&record(name.clone(), layout.shown().to_owned(), &loaded))?;
            Ok(name)
        });
        progress.clear();
        match loaded {
            Ok(name) => say(&format!("Loaded image {name} from {}\n", layout.shown()))?,
            Err(error) => return Err(super::broken_off(error)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}
