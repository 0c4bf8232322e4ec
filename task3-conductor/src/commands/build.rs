//! `conductor build IMAGE [CONDUCTORFILE]`: make an image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nsutil::Result;

use crate::cli::say;
use crate::image::base::{Base, Distribution, Suite};
use crate::image::build::{self, Recipe};
use crate::image::conductorfile::{self, Conductorfile};
use crate::name::ImageName;
use crate::store::Store;

/// Make an image: a Debian system, or what a Conductorfile says
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor build mydebian                    Debian, by debootstrap
  conductor build --from host small           this host's shell and tools, offline, in a second
  conductor build web Conductorfile           what the file says; COPY copies from its folder
A Conductorfile has lines FROM, COPY, RUN, ENV, WORKDIR and CMD, as a Dockerfile.")]
pub struct Build {
    /// Name for the image; one of that name is replaced
    image: ImageName,
    /// What to do, or the folder of a file Conductorfile; if left out, the one in this folder, or a Debian system
    conductorfile: Option<PathBuf>,
    /// What it begins with: debian:SUITE, ubuntu:SUITE, host, scratch, or another image
    #[arg(long, value_name = "BASE", conflicts_with = "conductorfile")]
    from: Option<Base>,
    /// Release of Debian when nothing else is said
    #[arg(long, env = "CONDUCTOR_SUITE", default_value = "bookworm", value_name = "NAME")]
    suite: Suite,
    /// Where packages come from, instead of the distribution's own mirror
    #[arg(long, env = "CONDUCTOR_MIRROR", value_name = "URL", value_parser = mirror)]
    mirror: Option<String>,
}

impl Build {
    /// Makes the image.
    ///
    /// # Errors
    /// Those of [`build::build`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let path = match self.conductorfile {
            Some(path) if path.is_dir() => Some(path.join(conductorfile::DEFAULT_NAME)),
            Some(path) => Some(path),
            None => {
                Some(PathBuf::from(conductorfile::DEFAULT_NAME)).filter(|path| self.from.is_none() && path.exists())
            }
        };
        let file = match &path {
            Some(path) => build::read(path)?,
            None => Conductorfile::only(self.from.unwrap_or(Base::Suite(Distribution::Debian, self.suite))),
        };
        let context = path.as_deref().and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
        let context = context.unwrap_or(Path::new("."));
        let recipe = Recipe { file: &file, context, mirror: self.mirror.as_deref() };
        let record = build::build(store, &self.image, &recipe)?;
        say(&format!("Built image {} from {}\n", record.name, record.from))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What debootstrap can fetch from.
fn mirror(text: &str) -> std::result::Result<String, String> {
    let known =
        ["http://", "https://", "file:///"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known && !text.contains(char::is_whitespace) {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("a mirror is an address such as http://deb.debian.org/debian".to_owned())
}
