//! `conductor history IMAGE`: the layers of an image.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nsutil::error::{OrCannot, Result};

use super::{date, size};
use crate::image::layer::{LayerRecord, Layers};
use crate::output::say;
use crate::output::svg::Drawing;
use crate::output::table::table;
use crate::spec::name::ImageName;
use crate::store::Store;
use crate::store::layer_id::LayerId;

/// Show the layers of an image, the topmost first
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor history mydebian
  conductor history mydebian layers.svg")]
pub struct History {
    /// Image to show
    image: ImageName,
    /// Write an SVG drawing to this file, instead of a table to stdout
    #[arg(value_name = "FILE.svg")]
    file: Option<PathBuf>,
}

/// One layer of the image.
struct Layer {
    id: LayerId,
    record: LayerRecord,
    /// The other images with this layer.
    shared_with: Vec<ImageName>,
}

impl History {
    /// Prints the table, or writes the drawing.
    ///
    /// # Errors
    /// When the image does not exist or is damaged; those of write(2).
    pub fn run(self, store: &Store, names_only: bool) -> Result<ExitCode> {
        let layers = self.layers(store)?;
        if let Some(file) = &self.file {
            fs::write(file, self.draw(&layers)).or_cannot("write", file.display())?;
        } else if names_only {
            layers.iter().try_for_each(|layer| say(&format!("{}\n", layer.id)))?;
        } else {
            let rows: Vec<Vec<String>> = layers.iter().map(Layer::cells).collect();
            say(&table(&[32, 10, 10], &["Layer", "Size", "Date", "Made by"], &rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn layers(&self, store: &Store) -> Result<Vec<Layer>> {
        let layers = Layers::open(store)?;
        let others: Vec<_> = store.images()?.into_iter().filter(|(name, _)| *name != self.image).collect();
        let shared_with = |id: &LayerId| {
            let has_it = others.iter().filter(|(_, other)| other.as_ref().is_ok_and(|other| other.layers.contains(id)));
            has_it.map(|(name, _)| name.clone()).collect()
        };
        let ids = store.image(&self.image)?.layers.into_iter();
        ids.map(|id| Ok(Layer { record: layers.record(&id)?, shared_with: shared_with(&id), id })).collect()
    }

    /// The stack as a container sees it: what is written goes on top, and a file of a higher layer hides a lower one's.
    fn draw(&self, layers: &[Layer]) -> String {
        const WIDTH: usize = 760;
        const LEFT: usize = 20;
        const TOP: usize = 50;
        const LAYER: usize = 48;
        let title = format!("Layers of the image {}", self.image);
        let mut svg = Drawing::new(&title, WIDTH, TOP + LAYER * (layers.len() + 1) + 20);
        svg.text("head", (LEFT, 30), &title);
        svg.rectangle("missing", (LEFT, TOP), WIDTH - 2 * LEFT, LAYER);
        svg.text("missing", (LEFT + 10, TOP + 28), "a container's own layer: the only one that it writes to");
        for (row, layer) in layers.iter().enumerate() {
            let top = TOP + LAYER * (row + 1);
            svg.rectangle("", (LEFT, top), WIDTH - 2 * LEFT, LAYER);
            let head = format!("{}  {}", layer.record.made_by, size(layer.record.size_bytes));
            svg.text_with_details((LEFT + 10, top + 20), &head, &layer.id.to_string());
            svg.text("", (LEFT + 10, top + 38), &layer.shared());
        }
        svg.finish()
    }
}

impl Layer {
    fn cells(&self) -> Vec<String> {
        let Self { id, record, .. } = self;
        vec![id.to_string(), size(record.size_bytes), date(record.created), record.made_by.clone()]
    }

    fn shared(&self) -> String {
        let names: Vec<&str> = self.shared_with.iter().map(ImageName::as_str).collect();
        if names.is_empty() { "read-only".to_owned() } else { format!("read-only, shared with {}", names.join(", ")) }
    }
}
