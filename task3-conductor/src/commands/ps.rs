//! `conductor ps`: the containers there are, running or ended.

use std::process::ExitCode;

use nsutil::Result;

use super::date;
use crate::cli::say;
use crate::store::Store;
use crate::table::table;

/// List containers; one whose first process has ended stays listed until `stop`
#[derive(clap::Args)]
pub struct Ps {}

impl Ps {
    /// Prints the table.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let containers = store.containers()?;
        if containers.is_empty() {
            say("No containers found\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = Vec::new();
        for (name, record) in containers {
            rows.push(match record {
                Ok(record) => {
                    let status = if record.running()?.is_some() { "running" } else { "exited" };
                    let command = record.command.join(" ");
                    vec![name.to_string(), date(record.created), status.to_owned(), record.image.to_string(), command]
                }
                Err(error) => vec![name.to_string(), "damaged".to_owned(), nsutil::error::line(&error)],
            });
        }
        say(&table(&[20, 10, 8, 20], &["Name", "Date", "Status", "Image", "Command"], &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}
