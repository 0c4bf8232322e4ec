//! `conductor images`: the images there are.

use std::process::ExitCode;

use nsutil::Result;

use super::date;
use crate::cli::say;
use crate::store::Store;
use crate::table::table;

/// List images
#[derive(clap::Args)]
pub struct Images {}

impl Images {
    /// Prints the table.
    ///
    /// # Errors
    /// When the folder of images cannot be read.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let images = store.images()?;
        if images.is_empty() {
            say("No images found\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Vec<String>> = images
            .into_iter()
            .map(|(name, record)| match record {
                Ok(record) => vec![name.to_string(), "?".to_owned(), date(record.created)],
                Err(error) => vec![name.to_string(), "damaged".to_owned(), nsutil::error::line(&error)],
            })
            .collect();
        say(&table(&[20, 10], &["Name", "Size", "Date"], &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}
