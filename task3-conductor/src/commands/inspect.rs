//! `conductor inspect NAME`: details of a container as JSON.

use std::process::ExitCode;

use nsutil::error::Result;
use serde::Serialize;

use super::ps::Status;
use crate::container::cgroup;
use crate::network::{NetworkView, Networks};
use crate::output::{json, say};
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::{Change, Ledger};
use crate::store::record::ContainerRecord;

/// Show the details of a container as JSON
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor inspect web
  conductor inspect web | jq .network.address")]
pub struct Inspect {
    /// Container to show
    name: ContainerName,
    /// Output format; only json (accepted for consistency with other commands)
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = ["json"])]
    format: String,
}

#[derive(Serialize)]
struct Known {
    #[serde(flatten)]
    record: ContainerRecord,
    #[serde(flatten)]
    status: Status,
    /// Its root directory as seen from the host.
    rootfs: String,
    cgroups: Vec<String>,
    /// Processes and threads.
    processes: ProcessUsage,
    network: Option<NetworkView>,
    /// Changes of the host that were made for it.
    ledger: Vec<Change>,
}

#[derive(Serialize)]
struct ProcessUsage {
    limit: Option<u32>,
    now: usize,
}

impl Inspect {
    /// Prints it.
    ///
    /// # Errors
    /// In words when there is no such container, or its record is damaged.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let dir = store.container_dir(&self.name);
        let record = store.container(&self.name)?;
        let cgroup = cgroup::of(&store.tag(&self.name))?;
        let known = Known {
            status: Status::of(store, &record)?,
            rootfs: dir.join("rootfs").display().to_string(),
            cgroups: cgroup.directories().map(|directory| directory.display().to_string()).collect(),
            processes: ProcessUsage { limit: record.limits.max_processes(), now: cgroup.threads().unwrap_or(0) },
            network: Networks::load(store)?.show(&self.name),
            ledger: Ledger::of(&dir).changes()?,
            record,
        };
        say(&json(&known, &self.name)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
