//! Images and containers for other tools, and theirs in ours: the formats of the Open Container Initiative (OCI).
//!
//! An image that only its maker can run is no image. Docker, Podman, Kubernetes and runc agree on three documents: how
//! an image is stored (image-spec), how a container is described to the program that starts it (runtime-spec), and how
//! images travel (distribution-spec). An image is a tree of *blobs*, each named by the SHA-256 of its content:
//!
//! ```text
//! index.json ── a descriptor for each image: media type, digest, size, platform, name
//!    └ manifest ── a descriptor of the config and of each layer, the lowest first
//!         ├ config ── what to run, environment, history; and the diff ID of each layer
//!         └ layer  ── a tar archive of what the layer changes, usually compressed
//! ```
//!
//! A digest names the blob as it is stored, a *diff ID* the archive in it, uncompressed. Whoever trusts the digest of the
//! manifest can check everything below it: [`load`] does, before it uses anything.
//!
//! | module | what happens there |
//! |---|---|
//! | [`digest`] | digests, and reading and writing with one eye on them |
//! | [`layout`] | an image layout or archive, for reading |
//! | [`image`] | from the index to one image: which manifest, which layers, which config |
//! | [`config`] | an image's config in ours and ours in theirs |
//! | [`whiteout`] | deleted files: the archive's way and overlay's |
//! | [`unpack`] | a layer's archive to a folder, whoever wrote it |
//! | [`load`] | `load`: all of that in order |
//! | [`pack`] | a layer's folder to an archive |
//! | [`sink`] | an image layout or archive, for writing |
//! | [`save`] | `save`: all of that in order |
//! | [`registry`] | `pull` and `FROM docker://`: what skopeo fetches is loaded |
//! | [`bundle`] | a container for runc |
//! | [`watch`] | Ctrl-C in the middle of any of it |
//!
//! Look: `conductor save eg -o eg.tar && tar tf eg.tar`, `skopeo inspect --raw oci-archive:eg.tar`. The documents:
//! <https://github.com/opencontainers/image-spec>, <https://github.com/opencontainers/runtime-spec>.

pub mod bundle;
pub mod config;
pub mod digest;
pub mod image;
pub mod layout;
pub mod load;
pub mod pack;
pub mod registry;
pub mod save;
pub mod sink;
pub mod unpack;
pub mod watch;
pub mod whiteout;

/// Layers that Docker takes; overlay itself would take 500.
pub const MOST_LAYERS: usize = 127;

/// The processor of this machine in the words of Go, which the specification uses.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
