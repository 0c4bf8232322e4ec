//! `load`: an image of somebody else's becomes one of ours.
//!
//! Everything is checked before it is used: the digest of a compressed layer before its first byte is unpacked, the diff ID
//! of what came out before the layer gets its place. Until then it is a draft, which goes when anything fails. A layer's name
//! in our cache is made of its diff ID and of those below, so a layer that is there is not unpacked again.
//!
//! Look: `conductor --explain load -i FILE eg`. Source: image-spec, config.md, "Layer DiffID" and "Layer ChainID".

use std::io::Read;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::step;

use super::config::{created, instructions, settings};
use super::digest::Hashing;
use super::image::{Found, Layer, Packing, find};
use super::layout::Layout;
use super::unpack::{MOST_BYTES, Zstd, drain, unpack};
use super::watch::Watch;
use crate::image::layer::{Draft, Key, Layers, Outcome};
use crate::image::layer_steps::Settings;
use crate::image::progress::{Amount, Progress};
use crate::store::Store;
use crate::store::layer_id::LayerId;

/// An image whose layers are in the store, and which has no name there yet.
#[derive(Debug)]
pub struct Loaded {
    /// What it is called where it came from.
    pub name: Option<String>,
    /// Its layers, the topmost first.
    pub layers: Vec<LayerId>,
    /// What it runs.
    pub settings: Settings,
    /// Seconds since 1970 at which it was made.
    pub created: i64,
    /// Whether a layer had to be unpacked.
    pub outcome: Outcome,
}

/// Unpacks the layers that are not there yet of the image that is wanted, by the name it has there, or of the only one.
///
/// # Errors
/// Those of [`find`] and [`unpack`], with the layer; in words when a digest is wrong, or a signal came.
pub fn load(
    store: &Store,
    layers: &Layers,
    layout: &Layout,
    wanted: Option<&str>,
    watch: &Watch<'_>,
    progress: &mut Progress,
) -> Result<Loaded> {
    let Found { name, config, layers: found } = find(layout, wanted)?;
    let settings = settings(&config)?;
    let created = created(&config).unwrap_or_else(|| jiff::Timestamp::now().as_second());
    let mut made_by = instructions(&config);
    let (mut stack, mut outcome): (Vec<LayerId>, _) = (Vec::new(), Outcome::Cached);
    for (index, layer) in found.iter().enumerate() {
        let reached = Amount::Count { now: index as u64, of: found.len() as u64 };
        progress.step("Unpacking layers", &layer.diff_id.hex()[..12], reached);
        let parent = stack.first();
        let id =
            Key::of("oci").with(parent.map(ToString::to_string).unwrap_or_default()).with(layer.diff_id.hex()).id();
        let made_by = made_by.next().unwrap_or_default();
        let below: Vec<PathBuf> = stack.iter().map(|layer| store.layer_root(layer)).collect();
        let made = layers.get_or_make(&id, parent, &made_by, |draft| fill(draft, layout, layer, &below, watch))?;
        if made == Outcome::Made {
            outcome = Outcome::Made;
        }
        stack.insert(0, id);
    }
    Ok(Loaded { name, layers: stack, settings, created, outcome })
}

fn fill(draft: &Draft, layout: &Layout, layer: &Layer, below: &[PathBuf], watch: &Watch<'_>) -> Result<()> {
    let shown = format!("layer {} of {}", &layer.diff_id.hex()[..12], layout.shown());
    if let Some((digest, size)) = &layer.promised {
        layout.check_blob(digest, *size, watch)?;
    }
    step!("oci.unpack",
        call: "openat2(\"{}\", RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS) …", draft.root().display();
        why: "each path of the archive is made below that folder, and none leads out of it or through a link";
        shell: "tar --extract --xattrs --directory {}", draft.root().display());
    let missing = || Error::new("read", &shown, "it is not there");
    let (file, _) = layout.file(&layer.path)?.ok_or_else(missing)?;
    let mut archive = Hashing::new(decompressed(watch.reader(file), layer.packing).or_cannot("read", &shown)?);
    unpack(&mut archive, &draft.root(), below).map_err(|error| Error::new("unpack", &shown, error))?;
    // Behind the end of an archive there may be more, which counts.
    drain(&mut archive, MOST_BYTES).or_cannot("read", &shown)?;
    let (_, found, _) = archive.finish();
    if found != layer.diff_id {
        let wrong = format!("unpacked it has the digest {found}, and its config promised {}", layer.diff_id);
        return Err(Error::new("use", shown, wrong));
    }
    watch.go_on("unpack", shown)
}

fn decompressed<'a>(mut file: impl Read + 'a, packing: Option<Packing>) -> std::io::Result<Box<dyn Read + 'a>> {
    if let Some(packing) = packing {
        return Ok(decoder(file, packing));
    }
    // `docker save` does not say.
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    let packing = match start.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::Plain,
    };
    Ok(decoder(std::io::Cursor::new(start).chain(file), packing))
}

fn decoder<'a>(file: impl Read + 'a, packing: Packing) -> Box<dyn Read + 'a> {
    match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(std::io::BufReader::with_capacity(64 << 10, file))),
        Packing::Zstd => Box::new(Zstd::new(file)),
    }
}
