//! Making an image: the layers of its base, one more for each instruction, and last the record that lists them.

use nsutil::error::{Error, Result};

use super::base::Base;
use super::host;
use super::layer::{LayerId, Layers, Outcome};
use crate::name::ImageName;
use crate::record::ImageRecord;
use crate::store::Store;

/// Makes the image `name` from `base`.
///
/// # Errors
/// Those of making a layer; `ENOSPC`, `EROFS` … with the path.
pub fn build(store: &Store, name: &ImageName, base: &Base) -> Result<ImageRecord> {
    // The caller's umask is about files of the caller's own; a layer is for all users that are in the image.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let layers = Layers::open(store)?;
    let bottom = make_base(&layers, base)?;
    let record = ImageRecord {
        name: name.clone(),
        from: base.to_string(),
        layers: vec![bottom],
        created: jiff::Timestamp::now().as_second(),
        command: Vec::new(),
        environment: Default::default(),
        working_directory: None,
    };
    store.save_image(&record)?;
    Ok(record)
}

fn make_base(layers: &Layers, base: &Base) -> Result<LayerId> {
    match base {
        Base::Host => {
            let id = host::key()?.id();
            layers.get_or_make(&id, None, "FROM host", host::fill)?;
            Ok(id)
        }
        _ => Err(Error::new("build from", base, "not yet")),
    }
}
