//! `conductor images`: list images.

use std::process::ExitCode;

use nsutil::error::{Result, line};
use serde::Serialize;

use super::{Format, date, size};
use crate::image::layer::Layers;
use crate::output::table::table;
use crate::output::{json, say};
use crate::spec::name::ImageName;
use crate::store::Store;
use crate::store::record::ImageRecord;

/// List images
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor images
  conductor rmi $(conductor images -q)
  conductor images --format json")]
pub struct Images {
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// One image as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum ImageRow {
    Whole {
        #[serde(flatten)]
        record: ImageRecord,
        /// Size of all its layers on disk; a layer that several images share counts for each.
        size_bytes: u64,
    },
    Damaged {
        name: ImageName,
        /// Why its record cannot be read.
        damage: String,
    },
}

impl Images {
    /// Prints the table; with `names_only` and as a table, a line with each name.
    ///
    /// # Errors
    /// When the folder of images cannot be read.
    pub fn run(self, store: &Store, names_only: bool) -> Result<ExitCode> {
        let layers = Layers::open(store)?;
        let rows: Vec<ImageRow> =
            store.images()?.into_iter().map(|(name, record)| ImageRow::of(&layers, name, record)).collect();
        let text = match self.format {
            Format::Json => json(&rows, "the images")?,
            Format::Table if names_only => rows.iter().map(|row| format!("{}\n", row.name())).collect(),
            Format::Table if rows.is_empty() => "No images found\n".to_owned(),
            Format::Table => {
                table(&[20, 10], &["Name", "Size", "Date"], &rows.iter().map(ImageRow::cells).collect::<Vec<_>>())
            }
        };
        say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ImageRow {
    fn of(layers: &Layers, name: ImageName, record: Result<ImageRecord>) -> Self {
        // Layers were measured when they were created: measuring all files now would take seconds.
        let size = |record: &ImageRecord| {
            record.layers.iter().map(|layer| layers.record(layer).map(|layer| layer.size_bytes)).sum::<Result<u64>>()
        };
        match record.and_then(|record| size(&record).map(|size_bytes| (record, size_bytes))) {
            Ok((record, size_bytes)) => Self::Whole { record, size_bytes },
            Err(error) => Self::Damaged { name, damage: line(&error) },
        }
    }

    fn name(&self) -> &ImageName {
        match self {
            Self::Whole { record, .. } => &record.name,
            Self::Damaged { name, .. } => name,
        }
    }

    fn cells(&self) -> Vec<String> {
        match self {
            Self::Whole { record, size_bytes } => {
                vec![record.name.to_string(), size(*size_bytes), date(record.created)]
            }
            Self::Damaged { name, damage } => vec![name.to_string(), "damaged".to_owned(), damage.clone()],
        }
    }
}
