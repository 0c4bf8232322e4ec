//! `save`: an image of ours for Docker, Podman, Kubernetes and whoever reads the specification.
//!
//! Each of our layers becomes a layer of its own, so images that share layers here share them there. Everything that is
//! written follows from the image: no time of writing, no name of this host. The same image gives the same digest, and a
//! registry that has it already takes nothing.
//!
//! Look: `conductor save eg -o eg/ && jq . eg/index.json`. Sources: image-spec, manifest.md, image-layout.md.

use std::collections::HashMap;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::step;
use oci_spec::OciSpecError;
use oci_spec::image::{
    Descriptor, DescriptorBuilder, Digest as SpecDigest, ImageIndex, ImageIndexBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, PlatformBuilder,
};
use serde::Serialize;

use super::config::of_image;
use super::digest::{Digest, Hashing};
use super::image::REF_NAME;
use super::pack::pack;
use super::sink::{Blob, Sink};
use super::watch::Watch;
use super::{MOST_LAYERS, architecture};
use crate::image::layer::Layers;
use crate::store::Store;
use crate::store::record::ImageRecord;

/// Writes an image to `place`; returns the digest of its manifest, which is the image's name for everybody else.
///
/// # Errors
/// In words when a layer is gone or cannot be packed; `ENOSPC` … with the path. Then nothing is there.
pub fn save(store: &Store, image: &ImageRecord, place: &Path, watch: &Watch<'_>) -> Result<Digest> {
    let layers = Layers::open(store)?;
    if let Some(lost) = image.layers.iter().find(|layer| !layers.has(layer)) {
        let lost = Error::new("save", format_args!("image {}", image.name), format!("its layer {lost} is gone"));
        return Err(lost.hint(format_args!("build {} again", image.name)));
    }
    if image.layers.len() > MOST_LAYERS {
        let many = format!("it has {} layers, and other tools take {MOST_LAYERS}", image.layers.len());
        let refused = Error::new("save", format_args!("image {}", image.name), many);
        return Err(refused.hint("join lines of its Conductorfile"));
    }
    step!("oci.save", call: "open(\"{}\", O_CREAT | O_EXCL) …; rename", place.display();
        why: "each layer as an archive, named by its hash; all of it beside its place until it is whole";
        shell: "tar c -C LAYER . | gzip --no-name > blobs/sha256/HASH");
    let mut sink = Sink::create(place)?;
    let (mut blobs, mut diff_ids, mut made_by) = (Vec::new(), Vec::new(), Vec::new());
    for id in image.layers.iter().rev() {
        let (blob, diff_id) = sink.blob(|to| layer(&store.layer_root(id), to, watch))?;
        blobs.push(descriptor(MediaType::ImageLayerGzip, &blob)?);
        diff_ids.push(diff_id);
        made_by.push(layers.record(id)?.made_by);
    }
    let config = json_blob(&mut sink, &of_image(image, &diff_ids, &made_by)?)?;
    let manifest = described(manifest(descriptor(MediaType::ImageConfig, &config)?, blobs))?;
    let manifest = json_blob(&mut sink, &manifest)?;
    let index = described(index(&manifest, image.name.as_str()))?;
    sink.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    sink.file("index.json", &json(&index)?)?;
    sink.finish()?;
    Ok(manifest.digest)
}

/// Writes a layer as a compressed archive, and tells the digest of what is in it.
fn layer(root: &Path, to: &mut Hashing<std::fs::File>, watch: &Watch<'_>) -> Result<Digest> {
    // Neither name nor time in it: the same archive gives the same bytes.
    let compressor = GzEncoder::new(to, Compression::default());
    let packed = pack(root, Hashing::new(compressor), watch)?;
    let (compressor, diff_id, _) = packed.finish();
    compressor.finish().or_cannot("write", "the layer's end")?;
    Ok(diff_id)
}

fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|error| error.to_string()).or_cannot("put into words", "the image")
}

fn json_blob(sink: &mut Sink, document: &impl Serialize) -> Result<Blob> {
    use std::io::Write;
    let text = json(document)?;
    sink.blob(|to| to.write_all(&text).or_cannot("write", "the image")).map(|(blob, ())| blob)
}

fn described<T>(built: std::result::Result<T, OciSpecError>) -> Result<T> {
    built.map_err(|error| error.to_string()).or_cannot("describe", "the image")
}

fn digest(blob: &Blob) -> Result<SpecDigest> {
    described(blob.digest.to_string().parse())
}

fn descriptor(kind: MediaType, blob: &Blob) -> Result<Descriptor> {
    Ok(Descriptor::new(kind, blob.size, digest(blob)?))
}

fn manifest(config: Descriptor, layers: Vec<Descriptor>) -> std::result::Result<ImageManifest, OciSpecError> {
    let manifest = ImageManifestBuilder::default().schema_version(2_u32).media_type(MediaType::ImageManifest);
    manifest.config(config).layers(layers).build()
}

fn index(manifest: &Blob, name: &str) -> std::result::Result<ImageIndex, OciSpecError> {
    let platform = PlatformBuilder::default().architecture(architecture()).os("linux").build()?;
    let entry = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .size(manifest.size)
        .digest(manifest.digest.to_string().parse::<SpecDigest>()?)
        .platform(platform)
        .annotations(HashMap::from([(REF_NAME.to_owned(), name.to_owned())]))
        .build()?;
    let index = ImageIndexBuilder::default().schema_version(2_u32).media_type(MediaType::ImageIndex);
    index.manifests(vec![entry]).build()
}
