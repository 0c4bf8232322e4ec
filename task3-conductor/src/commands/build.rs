//! `conductor build IMAGE [CONDUCTORFILE]`: build an image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use nsutil::OrCannot;

use crate::image::base::Base;
use crate::image::build;
use crate::image::build::BuildSpec;
use crate::image::conductorfile;
use crate::image::conductorfile::Conductorfile;
use crate::image::layer::Layers;
use crate::image::layer_steps::{Settings, plan};
use crate::oci::registry;
use crate::output::escape::quoted;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ImageName;
use crate::store::Store;
use crate::store::layer_id::LayerId;

/// Build an image: a Debian system, or from a Conductorfile
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor build mydebian                    Debian, by debootstrap
  conductor build --from host small           this host's shell and tools, offline, in a second
  conductor build web Conductorfile           from a file; COPY copies from its folder
A Conductorfile has the instructions FROM, COPY, RUN, ENV, WORKDIR and CMD, as in a Dockerfile.")]
pub struct Build {
    /// Name of the image; an existing image of that name is replaced
    image: ImageName,
    /// Conductorfile, or its folder; default: ./Conductorfile if it exists, otherwise a Debian system
    conductorfile: Option<PathBuf>,
    /// Base of the image: debian:SUITE, ubuntu:SUITE, docker://REF, host, scratch, or another image
    #[arg(long, value_name = "BASE", conflicts_with = "conductorfile")]
    from: Option<Base>,
    /// Base when neither option is given
    #[arg(long, env = "CONDUCTOR_IMAGE_FROM", default_value = "", hide = true)]
    usually_from: Setting<Base>,
    /// Package mirror, instead of the distribution's own
    #[arg(long, env = "CONDUCTOR_MIRROR", default_value = "", hide_default_value = true, value_name = "URL")]
    mirror: Setting<Mirror>,
}

/// A setting that may be empty in config.sh.
#[derive(Debug, Clone)]
struct Setting<T>(Option<T>);

/// An address that debootstrap can fetch from.
#[derive(Debug, Clone)]
struct Mirror(String);

/// The default base.
const DEFAULT_BASE: &str = "debian:bookworm";

impl Build {
    /// Builds the image.
    ///
    /// # Errors
    /// Those of [`build::build`].
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let path = match self.conductorfile {
            Some(path) if path.is_dir() => Some(path.join(conductorfile::DEFAULT_NAME)),
            Some(path) => Some(path),
            None => {
                Some(PathBuf::from(conductorfile::DEFAULT_NAME)).filter(|path| self.from.is_none() && path.exists())
            }
        };
        let file = match &path {
            Some(path) => build::read(path)?,
            None => {
                let usual = || DEFAULT_BASE.parse().or_cannot("understand", DEFAULT_BASE);
                Conductorfile::only(self.from.or(self.usually_from.0).map_or_else(usual, Ok)?)
            }
        };
        let context = path.as_deref().and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
        let context = context.unwrap_or(Path::new("."));
        let mirror = self.mirror.0.as_ref().map(|Mirror(address)| address.as_str());
        // From here on no layer is removed, including those of the base.
        let layers = Layers::open(store)?;
        let pulled = pulled(store, &layers, &file);
        let built = pulled
            .and_then(|pulled| build::build(store, &self.image, &BuildSpec { file: &file, context, mirror, pulled }));
        match built {
            Ok(record) => say(&format!("Built image {} from {}\n", record.name, record.from))?,
            // If a signal interrupted the build, the process ends here.
            Err(error) => return Err(super::broken_off(error)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The base that is in a registry, if it is there. Nothing is fetched before the whole file is understood.
fn pulled(store: &Store, layers: &Layers, file: &Conductorfile) -> nsutil::Result<Option<(Vec<LayerId>, Settings)>> {
    let Base::Registry(reference) = &file.from else { return Ok(None) };
    plan(file, Settings::default())?;
    let base = registry::base(store, layers, reference)?;
    Ok(Some((base.layers, base.settings)))
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> std::result::Result<Self, T::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let has_host = |scheme: &&str| text.strip_prefix(*scheme).is_some_and(|rest| !rest.is_empty());
        if ["http://", "https://", "file:///"].iter().any(has_host) && !text.contains(char::is_whitespace) {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        Err(format!("{} is not a mirror: use a URL, for example http://deb.debian.org/debian", quoted(text)))
    }
}
