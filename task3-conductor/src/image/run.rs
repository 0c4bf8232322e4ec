//! `RUN COMMAND`: turns the changes of a command into a layer.
//!
//! The command runs in a container like any other: same namespaces, capabilities, system calls and devices. Only the
//! network is the host's, to fetch packages. The upper directory of its overlay becomes the layer once the command has
//! succeeded and all its processes are gone.
//!
//! Look: `conductor build --explain eg Conductorfile`, `ls .cache/layers/*/root`. Manual: mount(8), "overlay".

use std::io;
use std::os::fd::AsFd;

use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::Exit;

use super::interrupt;
use super::layer::Draft;
use super::layer_steps::Settings;
use crate::container::create;
use crate::container::create::Output;
use crate::container::plan::{Plan, Process, Purpose, default_environment};
use crate::container::relay::{Relay, copy_while};
use crate::container::stop;
use crate::hosts_file::ResolverOptions;
use crate::spec::confinement::Confinement;
use crate::spec::name::{ContainerName, ImageName};
use crate::spec::resources::ResourceLimits;
use crate::store::Store;
use crate::store::layer_id::LayerId;

/// A command to be run for a layer.
#[derive(Debug)]
pub struct RunStep<'a> {
    /// The image that is being made.
    pub image: &'a ImageName,
    /// Its layers, topmost first.
    pub layers: &'a [LayerId],
    /// The layer to be.
    pub layer: &'a LayerId,
    /// Program and arguments.
    pub command: &'a [String],
    /// Its environment and folder.
    pub settings: &'a Settings,
}

/// Runs the command; its writes are then in the draft.
///
/// # Errors
/// In words when it ends with another code than 0; those of starting a container.
pub fn run(store: &Store, job: &RunStep<'_>, draft: &Draft) -> Result<()> {
    // The lock of the draft makes the name unique.
    let name: ContainerName = format!("build-{}", job.layer).parse().or_cannot("name", "a step of the build")?;
    let plan = Plan {
        name,
        image: job.image.clone(),
        layers: job.layers.to_vec(),
        hostname: None,
        remove_at_end: true,
        purpose: Purpose::Layer { upper: draft.root(), work: draft.work() },
        limits: ResourceLimits::default(),
        volumes: Vec::new(),
        read_only: false,
        names: ResolverOptions::default(),
        process: Process {
            command: job.command.to_vec(),
            environment: default_environment().into_iter().chain(job.settings.environment.clone()).collect(),
            working_directory: job.settings.working_directory.clone().unwrap_or_else(|| "/".to_owned()),
            user: None,
            confinement: Confinement::default(),
            has_reaper: false,
        },
    };
    interrupt::with_signals_blocked(|signals| {
        let stderr = io::stderr();
        let (relay, pipe) = Relay::replacing(stderr.as_fd())?.unzip();
        let claim = store.claim(&plan.name, |lock| stop::tear_down(store, &plan.name, lock))?;
        let output = Output::Attached(pipe.as_ref().map_or(stderr.as_fd(), AsFd::as_fd));
        let (started, lock) =
            create::start_and_hold(store, &plan, claim, output).map_err(crate::output::failure::Failure::into_error)?;
        drop(pipe);
        // When process 1 exits, the kernel kills its background processes.
        let ended = copy_while(relay.into_iter().collect(), started.init.pidfd(), || {
            interrupt::until_end(started.init.pidfd(), signals)
        });
        let ended = ended.and_then(|_| started.init.wait()).and_then(|exit| match exit {
            Exit::Code(0) => Ok(()),
            end => Err(Error::new("run", "the command", format!("it ended with code {}", end.code()))),
        });
        let gone = stop::tear_down(store, &plan.name, lock);
        ended.and(gone)
    })
}
