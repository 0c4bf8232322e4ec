//! `conductor ps`: list containers, running or exited.

use std::process::ExitCode;

use nsutil::error::{Result, line};
use serde::Serialize;

use super::{Format, date};
use crate::container::cgroup;
use crate::container::stop;
use crate::network;
use crate::output::table::table;
use crate::output::{json, say};
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::record::ContainerRecord;

/// List containers; one whose first process has exited stays listed until `stop`
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor ps
  conductor stop $(conductor ps -q)
  conductor ps --format json | jq '.[] | select(.running).name'")]
pub struct Ps {
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Include exited containers (always on; accepted for compatibility with `docker ps -a`)
    #[arg(short, long)]
    all: bool,
}

/// What the kernel says about a container now.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether its first process runs.
    running: bool,
    /// Whether it is paused.
    paused: bool,
    /// Exit code of its first process, if it was recorded.
    exit_code: Option<i32>,
    /// Number of its processes that the kernel has killed because the memory limit was reached.
    out_of_memory_kills: u64,
}

/// One container as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum ContainerRow {
    /// Its record and status.
    Known {
        #[serde(flatten)]
        record: Box<ContainerRecord>,
        #[serde(flatten)]
        status: Status,
    },
    /// Its name, and why its record cannot be read.
    Damaged { name: ContainerName, damage: String },
}

impl Ps {
    /// Prints the table; with `names_only` and as a table, a line with each name.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn run(self, store: &Store, names_only: bool) -> Result<ExitCode> {
        stop::clear_leftovers(store)?;
        network::release_ended(store)?;
        let mut rows = Vec::new();
        for (name, record) in store.containers()? {
            rows.push(match record {
                Ok(record) => ContainerRow::Known { status: Status::of(store, &record)?, record: Box::new(record) },
                Err(error) => ContainerRow::Damaged { name, damage: line(&error) },
            });
        }
        let text = match self.format {
            Format::Json => json(&rows, "the containers")?,
            Format::Table if names_only => rows.iter().map(|row| format!("{}\n", row.name())).collect(),
            Format::Table if rows.is_empty() => "No containers found\n".to_owned(),
            Format::Table => {
                let rows: Vec<Vec<String>> = rows.iter().map(ContainerRow::cells).collect();
                table(&[20, 10, 12, 20], &["Name", "Date", "Status", "Image", "Command"], &rows)
            }
        };
        say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    /// Asks for the status of a container.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn of(store: &Store, record: &ContainerRecord) -> Result<Self> {
        let running = record.running()?.is_some();
        let paused = running && cgroup::of(&store.tag(&record.name)).is_ok_and(|cgroup| cgroup.is_frozen());
        let exit_code = if running { None } else { store.exit_code(&record.name) };
        // Its cgroup exists until `stop`, and counts only when there is a limit.
        let limited = record.limits.memory.is_some();
        let killed = || cgroup::of(&store.tag(&record.name)).ok()?.out_of_memory_kills();
        let out_of_memory_kills = Some(limited).filter(|limited| *limited).and_then(|_| killed()).unwrap_or(0);
        Ok(Self { running, paused, exit_code, out_of_memory_kills })
    }

    fn words(&self) -> String {
        let memory = if self.out_of_memory_kills > 0 { ", out of memory" } else { "" };
        let words = match self {
            Self { paused: true, .. } => "paused".to_owned(),
            Self { running: true, .. } => "running".to_owned(),
            Self { exit_code: Some(code), .. } => format!("exited ({code})"),
            Self { exit_code: None, .. } => "exited".to_owned(),
        };
        words + memory
    }
}

impl ContainerRow {
    fn name(&self) -> &ContainerName {
        match self {
            Self::Known { record, .. } => &record.name,
            Self::Damaged { name, .. } => name,
        }
    }

    fn cells(&self) -> Vec<String> {
        match self {
            Self::Known { record, status } => {
                let (name, date, image) = (record.name.to_string(), date(record.created), record.image.to_string());
                vec![name, date, status.words(), image, record.command.join(" ")]
            }
            Self::Damaged { name, damage } => vec![name.to_string(), "damaged".to_owned(), damage.clone()],
        }
    }
}
