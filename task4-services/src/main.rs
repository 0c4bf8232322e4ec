//! `service-orchestrator`: deploys two services in two containers, shows and tests them, and removes them.
//!
//! It runs the `conductor` command with the command lines of the assignment, and prints each; any tool with that
//! command line works. It stores no state between two calls: it asks the tool what runs, and each service whether it is
//! healthy. So `up` and `down` may be called in any state.

mod background;
mod check;
mod command_lock;
mod conductor;
mod deployment;
mod health;
mod holders;
mod host;
mod kube;
mod mirror;
mod progress;
mod report;
mod spec;
mod takedown;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nsutil::error::{OrCannot, Result, line};

use crate::conductor::Conductor;
use crate::deployment::{Deployment, Source};
use crate::progress::Progress;
use crate::spec::{Spec, missing};

/// Task 4: services in containers, through conductor's command line
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  sudo service-orchestrator up\n  sudo service-orchestrator up --offline --explain\n  sudo service-orchestrator test\n  sudo service-orchestrator down"
)]
struct Options {
    /// The tool to drive [default: task3-conductor/conductor.sh of the workspace this program was built in]
    #[arg(long, global = true, value_name = "PATH")]
    conductor: Option<PathBuf>,
    /// What to deploy [default: the assignment's two services]
    #[arg(long, global = true, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Where the folders of the services are [default: that of --spec, else task4-services of the workspace]
    #[arg(long, global = true, value_name = "DIR")]
    files: Option<PathBuf>,
    /// Say why, before each command
    #[arg(long, global = true)]
    explain: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build the image, start the containers, connect them, start the services; what is up already is left alone
    Up {
        /// Build the image from programs of this host, even where a Debian mirror answers
        #[arg(long)]
        offline: bool,
    },
    /// Show the services, their addresses and whether they answer
    Status,
    /// Show what the services printed
    Logs {
        /// Only this service's
        service: Option<String>,
    },
    /// Try the deployment: reachable, counted, closed where it should be
    Test,
    /// Print the deployment as YAML for Kubernetes and `podman kube play`
    Kube,
    /// Remove the containers, in whatever state they are
    Down {
        /// Remove the image too
        #[arg(long)]
        rmi: bool,
    },
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("service-orchestrator: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Performs the action; false if it succeeded with a negative result.
fn run(options: Options) -> Result<bool> {
    nsutil::process::reset_sigchld()?;
    let workspace = workspace();
    let spec = options.spec.map(absolute).transpose()?;
    let beside_spec = spec.as_ref().and_then(|spec| spec.parent()).map(PathBuf::from);
    let files = absolute(options.files.or(beside_spec).unwrap_or_else(|| workspace.join("task4-services")))?;
    if let Action::Kube = options.action {
        // It needs no tool, and changes nothing.
        let text = kube::yaml(&Spec::load(spec.as_deref())?, &files)?;
        anstream::print!("{text}");
        return Ok(true);
    }
    let conductor = options.conductor.unwrap_or_else(|| workspace.join("task3-conductor/conductor.sh"));
    let deployment = Deployment {
        spec: Spec::load(spec.as_deref())?,
        conductor: Conductor::at(&conductor, Progress::new(options.explain))?,
        files,
    };
    match options.action {
        Action::Up { offline } => {
            deployment.up(if offline { Source::Host } else { Source::Mirror })?;
            deployment.print()
        }
        Action::Status => deployment.status(),
        Action::Logs { service } => deployment.logs(service.as_deref()).map(|()| true),
        Action::Test => deployment.check(),
        Action::Kube => Ok(true),
        Action::Down { rmi } => deployment.down(rmi).map(|()| true),
    }
}

/// Makes a path absolute: the tool runs in another working directory.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).or_cannot("find", path.display())
}

/// The workspace: this program is at `target/PROFILE/service-orchestrator` in it.
fn workspace() -> PathBuf {
    let program = std::env::current_exe().ok();
    program.as_ref().and_then(|program| program.ancestors().nth(3)).map_or_else(|| PathBuf::from("."), PathBuf::from)
}

impl Deployment {
    fn logs(&self, service: Option<&str>) -> Result<()> {
        if let Some(name) = service.filter(|name| !self.spec.services.iter().any(|service| service.name == **name)) {
            return Err(missing(name));
        }
        for name in self.spec.services.iter().map(|service| &service.name) {
            if service.is_some_and(|only| only != name) {
                continue;
            }
            let path = self.conductor.log(name);
            let text = std::fs::read(&path).or_cannot("read", path.display());
            let text = text.map_err(|error| error.hint("it is there once `up` has begun"))?;
            for line in String::from_utf8_lossy(&text).lines() {
                anstream::println!("{name}  {line}");
            }
        }
        Ok(())
    }
}
