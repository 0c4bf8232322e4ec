//! From a layout to one image: which manifest fits this machine, which layers it has, and its config.
//!
//! An index can list an image once for each processor, and other things besides; the word for an entry is *descriptor*. What
//! `docker save` writes has one `manifest.json` instead, and layers by their paths. All that is found here is small: no
//! layer is opened yet.
//!
//! Look: `jq . index.json`, `skopeo inspect --raw oci:DIR | jq .`. Source: image-spec, image-index.md and manifest.md.

use nsutil::error::{Error, OrCannot, Result};
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::layout::{Layout, blob_path};
use super::{MOST_LAYERS, architecture};
use crate::output::escape::{escaped, quoted};

/// The annotation that names an entry of an index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's, which has the whole name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// An index may list indexes, and these may; nobody needs more.
const DEEPEST_INDEX: u32 = 3;

/// An image, as far as it can be known without reading layers.
#[derive(Debug)]
pub struct Found {
    /// What it is called there.
    pub name: Option<String>,
    /// What it runs.
    pub config: ImageConfiguration,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A layer that is in a layout.
#[derive(Debug)]
pub struct Layer {
    /// Its file there.
    pub path: String,
    /// Digest and size of that, where a descriptor says them.
    pub promised: Option<(Digest, u64)>,
    /// How it is compressed; none is what its first bytes say.
    pub packing: Option<Packing>,
    /// Digest of the archive, uncompressed.
    pub diff_id: Digest,
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// gzip(1).
    Gzip,
    /// zstd(1).
    Zstd,
}

/// Finds the image that is wanted, by the name it has there, or the only one.
///
/// # Errors
/// In words when there is none, or several, or none for this machine; when digests, sizes or media types are wrong.
pub fn find(layout: &Layout, wanted: Option<&str>) -> Result<Found> {
    let found = match layout.json("index.json")? {
        Some(index) => of_index(layout, &index, wanted)?,
        None => match layout.json("manifest.json")? {
            Some(list) => of_docker(layout, &list, wanted)?,
            None => {
                let neither = "it has neither index.json (OCI) nor manifest.json (docker save)";
                return Err(Error::new("find an image in", layout.shown(), neither));
            }
        },
    };
    check(layout, &found)?;
    Ok(found)
}

fn of_index(layout: &Layout, index: &[u8], wanted: Option<&str>) -> Result<Found> {
    let index: ImageIndex = parse(index, format_args!("{}/index.json", layout.shown()))?;
    let named = |entry: &&Descriptor| wanted.is_none_or(|wanted| name_of(entry).as_deref() == Some(wanted));
    let entries: Vec<&Descriptor> = index.manifests().iter().filter(named).collect();
    let mut fitting = Vec::new();
    for entry in &entries {
        if let Some(manifest) = fit(layout, entry, 0)? {
            fitting.push((name_of(entry), manifest));
        }
    }
    // One image may have two names.
    let several = fitting.iter().any(|(_, manifest)| fitting[0].1.digest() != manifest.digest());
    if several {
        let names: Vec<String> = fitting.iter().map(|(name, _)| quoted(name.as_deref().unwrap_or("?"))).collect();
        let several = Error::new("choose from", layout.shown(), format!("it has several images: {}", names.join(", ")));
        return Err(several.hint("say which by --ref"));
    }
    let Some((name, manifest)) = fitting.into_iter().next() else {
        return Err(no_fit(layout, index.manifests(), &entries, wanted));
    };
    of_manifest(layout, name, &manifest)
}

/// The manifest for this machine that a descriptor leads to, if there is one.
fn fit(layout: &Layout, entry: &Descriptor, depth: u32) -> Result<Option<Descriptor>> {
    match media_type(entry).as_str() {
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
            let fits = entry.platform().as_ref().is_none_or(|there| is_ours(there.os(), there.architecture()));
            Ok(fits.then(|| entry.clone()))
        }
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
            if depth == DEEPEST_INDEX {
                return Err(Error::new("read", layout.shown(), "it is an index of indexes without end"));
            }
            let index: ImageIndex = parse(&blob(layout, entry)?, format_args!("index {}", entry.digest()))?;
            for entry in index.manifests() {
                if let Some(found) = fit(layout, entry, depth + 1)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        other => Err(Error::new("use", format_args!("{} of {}", entry.digest(), layout.shown()), unknown(other))),
    }
}

fn no_fit(layout: &Layout, all: &[Descriptor], entries: &[&Descriptor], wanted: Option<&str>) -> Error {
    if let (Some(wanted), true) = (wanted, entries.is_empty()) {
        let names: Vec<String> = all.iter().filter_map(name_of).map(|name| quoted(&name)).collect();
        let missing = Error::new("find", format_args!("{} in {}", quoted(wanted), layout.shown()), "there is none");
        return missing
            .hint(format_args!("there is {}", if names.is_empty() { "nothing".into() } else { names.join(", ") }));
    }
    let platform =
        |entry: &&Descriptor| entry.platform().as_ref().map(|on| format!("{}/{}", on.os(), on.architecture()));
    let there: Vec<String> = entries.iter().filter_map(platform).map(|platform| escaped(&platform)).collect();
    let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
    let ours = format!("it is for {there}, and this machine is linux/{}", architecture());
    Error::new("use", format_args!("the image in {}", layout.shown()), ours)
}

fn of_manifest(layout: &Layout, name: Option<String>, entry: &Descriptor) -> Result<Found> {
    let shown = format!("manifest {}", entry.digest());
    let manifest: ImageManifest = parse(&blob(layout, entry)?, &shown)?;
    match media_type(manifest.config()).as_str() {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => (),
        other => {
            let other = format!("it is no image of a container: its config is of type {}", quoted(other));
            return Err(Error::new("use", shown, other));
        }
    }
    if manifest.layers().len() > MOST_LAYERS {
        return Err(too_many(layout, manifest.layers().len()));
    }
    let config: ImageConfiguration = parse(&blob(layout, manifest.config())?, "the image's config")?;
    let layers = manifest.layers().iter().zip(diff_ids(&config, manifest.layers().len())?);
    let layers = layers.map(|(layer, diff_id)| {
        let (digest, size) = promised(layer)?;
        let packing = Some(packing(&media_type(layer)).or_cannot("use", format_args!("layer {digest}"))?);
        Ok(Layer { path: blob_path(&digest), promised: Some((digest, size)), packing, diff_id })
    });
    Ok(Found { name, layers: layers.collect::<Result<_>>()?, config })
}

/// An entry of the list that `docker save` writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn of_docker(layout: &Layout, list: &[u8], wanted: Option<&str>) -> Result<Found> {
    let list: Vec<DockerImage> = parse(list, format_args!("{}/manifest.json", layout.shown()))?;
    let tags = |image: &DockerImage| image.repo_tags.clone().unwrap_or_default();
    let is_wanted = |image: &&DockerImage| wanted.is_none_or(|wanted| tags(image).iter().any(|tag| tag == wanted));
    let fitting: Vec<&DockerImage> = list.iter().filter(is_wanted).collect();
    let image = match fitting.as_slice() {
        [image] => *image,
        [] => {
            let missing = wanted.map_or_else(|| "an image".to_owned(), quoted);
            return Err(Error::new("find", format_args!("{missing} in {}", layout.shown()), "there is none"));
        }
        several => {
            let names: Vec<String> = several.iter().flat_map(|image| tags(image)).map(|tag| quoted(&tag)).collect();
            let several = format!("it has several images: {}", names.join(", "));
            return Err(Error::new("choose from", layout.shown(), several).hint("say which by --ref"));
        }
    };
    if image.layers.len() > MOST_LAYERS {
        return Err(too_many(layout, image.layers.len()));
    }
    let missing =
        || Error::new("read", format_args!("{} of {}", quoted(&image.config), layout.shown()), "it is not there");
    let config = layout.json(&image.config)?.ok_or_else(missing)?;
    // The config's name is its digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(digest) = format!("sha256:{stem}").parse::<Digest>() {
        let found = Digest::of(&config);
        if digest != found {
            let wrong = format!("its content has the digest {found}");
            return Err(Error::new("use", format_args!("{} of {}", quoted(&image.config), layout.shown()), wrong));
        }
    }
    let config: ImageConfiguration = parse(&config, "the image's config")?;
    let layers = image.layers.iter().zip(diff_ids(&config, image.layers.len())?);
    let layers = layers.map(|(path, diff_id)| Layer { path: path.clone(), promised: None, packing: None, diff_id });
    Ok(Found { name: tags(image).into_iter().next(), layers: layers.collect(), config })
}

fn check(layout: &Layout, found: &Found) -> Result<()> {
    if found.layers.is_empty() {
        return Err(Error::new("use", format_args!("the image in {}", layout.shown()), "it has no layers"));
    }
    let (os, machine) = (found.config.os(), found.config.architecture());
    if !is_ours(os, machine) {
        let other = format!("it is for {os}/{machine}, and this machine is linux/{}", architecture());
        return Err(Error::new("use", format_args!("the image in {}", layout.shown()), escaped(&other)));
    }
    Ok(())
}

fn is_ours(os: &Os, machine: &Arch) -> bool {
    *os == Os::Linux && machine.to_string() == architecture()
}

fn too_many(layout: &Layout, count: usize) -> Error {
    let many = format!("it has {count} layers, and {MOST_LAYERS} are the most");
    Error::new("use", format_args!("the image in {}", layout.shown()), many)
}

/// The config has one for each layer.
fn diff_ids(config: &ImageConfiguration, layers: usize) -> Result<Vec<Digest>> {
    let ids = config.rootfs().diff_ids();
    if ids.len() != layers {
        let wrong = format!("its config lists {} layers, and its manifest {layers}", ids.len());
        return Err(Error::new("use", "the image", wrong));
    }
    ids.iter().map(|id| id.parse().or_cannot("understand", "the image's config")).collect()
}

fn packing(media_type: &str) -> std::result::Result<Packing, String> {
    const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
    const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    let plain = |kind: &str| kind.strip_prefix(OCI).or(kind.strip_prefix(DOCKER)).map(str::to_owned);
    match plain(media_type).as_deref() {
        Some("") => Ok(Packing::Plain),
        Some("+gzip" | ".gzip") => Ok(Packing::Gzip),
        Some("+zstd" | ".zstd") => Ok(Packing::Zstd),
        _ if media_type.contains(".nondistributable.") || media_type.contains(".foreign.") => {
            Err("it is a foreign layer: its owner lets nobody hand it on, so it is not in the image".to_owned())
        }
        _ => Err(unknown(media_type)),
    }
}

fn unknown(media_type: &str) -> String {
    format!("its media type {} is not known here", quoted(media_type))
}

fn name_of(entry: &Descriptor) -> Option<String> {
    let notes = entry.annotations().as_ref()?;
    notes.get(CONTAINERD_NAME).or_else(|| notes.get(REF_NAME)).cloned()
}

fn media_type(entry: &Descriptor) -> String {
    match entry.media_type() {
        MediaType::Other(other) => other.clone(),
        known => known.to_string(),
    }
}

fn promised(entry: &Descriptor) -> Result<(Digest, u64)> {
    let digest = entry.digest().to_string().parse().or_cannot("understand", "a digest")?;
    Ok((digest, entry.size()))
}

fn blob(layout: &Layout, entry: &Descriptor) -> Result<Vec<u8>> {
    let (digest, size) = promised(entry)?;
    layout.json_blob(&digest, size)
}

fn parse<T: DeserializeOwned>(text: &[u8], shown: impl std::fmt::Display) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| escaped(&error.to_string())).or_cannot("understand", shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_known_foreign_or_unknown() {
        let oci = |kind: &str| packing(&format!("application/vnd.oci.image.layer.{kind}"));
        let docker = |kind: &str| packing(&format!("application/vnd.docker.image.rootfs.{kind}"));
        assert_eq!(oci("v1.tar"), Ok(Packing::Plain));
        assert_eq!(oci("v1.tar+gzip"), Ok(Packing::Gzip));
        assert_eq!(oci("v1.tar+zstd"), Ok(Packing::Zstd));
        assert_eq!(docker("diff.tar.gzip"), Ok(Packing::Gzip));
        for foreign in [oci("nondistributable.v1.tar+gzip"), docker("foreign.diff.tar.gzip")] {
            assert!(foreign.unwrap_err().contains("foreign layer"));
        }
        for wrong in [oci("v1.tar+xz"), oci("v1.tarx"), packing(""), packing("text/plain")] {
            assert!(wrong.unwrap_err().contains("is not known here"));
        }
    }
}
