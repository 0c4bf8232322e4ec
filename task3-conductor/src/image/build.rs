//! Builds an image: the layers of its base, one more for each COPY, RUN and WORKDIR, and a record that lists them.
//!
//! The whole Conductorfile is parsed and planned first ([`super::layer_steps`]), and the record is written last, so an
//! image never lacks layers. Each layer is looked up by its key; after the first cache miss all are built, since the
//! layer below is part of every key.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::make_all_private;
use nsutil::mount::overlay::Overlay;
use nsutil::namespace::Kind;
use nsutil::process::{Exit, SpawnOptions, spawn};
use nsutil::rootfs::Rootfs;

use super::base::Base;
use super::conductorfile::Conductorfile;
use super::copy::CopySource;
use super::debootstrap::Bootstrap;
use super::layer::{Draft, Key, Layers};
use super::layer_steps::{LayerAction, LayerStep, Settings, plan};
use super::progress::Progress;
use super::run::RunStep;
use super::{host, interrupt, run};
use crate::output::failure::remark;
use crate::spec::name::ImageName;
use crate::store::Store;
use crate::store::layer_id::LayerId;
use crate::store::record::ImageRecord;

/// What to build.
#[derive(Debug)]
pub struct BuildSpec<'a> {
    /// The Conductorfile.
    pub file: &'a Conductorfile,
    /// The Conductorfile's folder, from which COPY copies.
    pub context: &'a Path,
    /// Package mirror; none is the distribution's default.
    pub mirror: Option<&'a str>,
    /// The base that `FROM docker://REF` names: its layers, the topmost first, and what it runs.
    pub pulled: Option<(Vec<LayerId>, Settings)>,
}

/// Builds or rebuilds the image `name`.
///
/// # Errors
/// Of the instruction that failed, with its line; `ENOSPC`, `EROFS` … with the path.
pub fn build(store: &Store, name: &ImageName, recipe: &BuildSpec<'_>) -> Result<ImageRecord> {
    let file = recipe.file;
    let inherited = match &file.from {
        Base::Image(name) => settings_of(&store.image(name)?),
        _ => recipe.pulled.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default(),
    };
    let (steps, settings) = plan(file, inherited)?;
    let mut builder =
        Builder { store, layers: Layers::open(store)?, image: name, recipe, progress: Progress::on_stderr() };
    let mut stack = builder.base()?;
    for step in &steps {
        let layer = builder.layer(step, &stack).map_err(|error| step.failed(file, &error))?;
        stack.insert(0, layer);
    }
    let record = ImageRecord {
        name: name.clone(),
        from: file.from.to_string(),
        layers: stack,
        created: jiff::Timestamp::now().as_second(),
        command: settings.command,
        environment: settings.environment,
        working_directory: settings.working_directory,
        user: settings.user,
    };
    store.save_image(&record)?;
    Ok(record)
}

/// State of a build.
struct Builder<'a> {
    store: &'a Store,
    layers: Layers,
    image: &'a ImageName,
    recipe: &'a BuildSpec<'a>,
    progress: Progress,
}

impl Builder<'_> {
    /// The layers of the base, topmost first.
    fn base(&mut self) -> Result<Vec<LayerId>> {
        let Self { store, layers, recipe, progress, .. } = self;
        let from = &recipe.file.from;
        if let Some((layers, _)) = &recipe.pulled {
            return Ok(layers.clone());
        }
        let made_by = format!("FROM {from}");
        progress.begin(&made_by);
        let (id, outcome) = match from {
            Base::Image(name) => {
                let image = store.image(name)?;
                if let Some(lost) = image.layers.iter().find(|layer| !layers.has(layer)) {
                    let lost =
                        Error::new("build from", format_args!("image {name}"), format!("its layer {lost} is missing"));
                    return Err(lost.hint(format_args!("build {name} again")));
                }
                return Ok(image.layers);
            }
            Base::Registry(reference) => {
                return Err(Error::new("build from", reference, "nobody has pulled it"));
            }
            Base::Host => {
                let id = host::key()?.id();
                let outcome = layers.get_or_make(&id, None, &made_by, host::fill)?;
                (id, outcome)
            }
            Base::Scratch => {
                let id = Key::of("scratch").id();
                let outcome = layers.get_or_make(&id, None, &made_by, |_| Ok(()))?;
                (id, outcome)
            }
            Base::Suite(distribution, suite) => {
                let packages = store.packages_dir();
                let mirror = recipe.mirror.unwrap_or(distribution.usual_mirror());
                let bootstrap = Bootstrap { distribution: *distribution, suite, mirror, packages: &packages };
                let id = bootstrap.key().id();
                let outcome = layers.get_or_make(&id, None, &made_by, |draft| bootstrap.fill(draft, progress))?;
                (id, outcome)
            }
        };
        progress.end(outcome);
        Ok(vec![id])
    }

    /// The layer that `step` puts on top of `stack`.
    fn layer(&mut self, step: &LayerStep, stack: &[LayerId]) -> Result<LayerId> {
        let Self { store, layers, image, recipe, progress } = self;
        progress.begin(&step.text);
        let parent = stack.first();
        let key = |kind| Key::of(kind).with(parent.map(ToString::to_string).unwrap_or_default());
        let roots: Vec<PathBuf> = stack.iter().map(|layer| store.layer_root(layer)).collect();
        let (id, outcome) = match &step.action {
            LayerAction::Copy { source, destination } => {
                let tree = CopySource::read(recipe.context, source, store)?;
                for folder in tree.left_out() {
                    remark(format_args!("COPY skips {}: it is conductor's own store", folder.display()));
                }
                let id = tree.add_to(key("copy").with(destination)).id();
                let copy = |draft: &Draft| change(&roots, draft, |root| tree.copy_to(root, destination));
                let outcome = layers.get_or_make(&id, parent, &step.text, copy)?;
                (id, outcome)
            }
            LayerAction::Folder(folder) => {
                let id = key("folder").with(folder.as_os_str().as_encoded_bytes()).id();
                let make = |draft: &Draft| change(&roots, draft, |root| root.folder(folder).map(drop));
                let outcome = layers.get_or_make(&id, parent, &step.text, make)?;
                (id, outcome)
            }
            LayerAction::Run { command, settings } => {
                let directory = settings.working_directory.as_deref().unwrap_or_default();
                let key = command.iter().fold(key("run").with(directory), Key::with);
                let id = settings.environment.iter().fold(key, |key, (name, value)| key.with(name).with(value)).id();
                progress.clear();
                let run = |draft: &Draft| {
                    run::run(store, &RunStep { image, layers: stack, layer: &id, command, settings }, draft)
                };
                let outcome = layers.get_or_make(&id, parent, &step.text, run)?;
                (id, outcome)
            }
        };
        progress.end(outcome);
        Ok(id)
    }
}

fn settings_of(image: &ImageRecord) -> Settings {
    let ImageRecord { command, environment, working_directory, user, .. } = image.clone();
    Settings { command, environment, working_directory, user }
}

/// Runs `step` on the whole tree, in a temporary mount namespace; changes go to the draft.
fn change(layers: &[PathBuf], draft: &Draft, step: impl FnOnce(&Rootfs) -> Result<()>) -> Result<()> {
    let end = interrupt::with_signals_blocked(|signals| {
        let child = spawn(SpawnOptions { namespaces: &[Kind::Mount], ..SpawnOptions::default() }, |_| {
            make_all_private()?;
            let place = draft.place();
            let _mounted = Overlay { layers, upper: &draft.root(), work: &draft.work() }.mount(&place)?;
            step(&Rootfs::at(&place)?)?;
            Ok(0)
        })?;
        interrupt::wait(child, signals)
    })?;
    match end {
        Exit::Code(0) => Ok(()),
        end => Err(Error::new("finish", "the layer", format!("its process ended with code {}", end.code()))),
    }
}

/// Reads the Conductorfile at `path`.
///
/// # Errors
/// `ENOENT` when it is not there; its first mistake.
pub fn read(path: &Path) -> Result<Conductorfile> {
    let bytes = fs::read(path).or_cannot("read", path.display()).map_err(|error| match error.errno() {
        Some(Errno::ENOENT) => error.hint("without a Conductorfile, `conductor build IMAGE` makes a Debian system"),
        _ => error,
    })?;
    Conductorfile::parse(&path.display().to_string(), &bytes)
}
