//! Images that a test makes by hand: in the store, or as a layout of somebody else's.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use testlab::host::Host;

/// A host whose store shares no cache with other tests: what is in there is this test's.
pub fn alone(test: &str) -> Host {
    let host = Host::new(test);
    nix::mount::umount2(&host.store.join(".cache"), nix::mount::MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir_all(host.store.join(".images")).unwrap();
    host
}

/// Makes an image of layers, the lowest first, each filled by hand.
pub fn plant(host: &Host, name: &str, layers: &[&dyn Fn(&Path)]) {
    let mut ids: Vec<String> = Vec::new();
    for (index, fill) in layers.iter().enumerate() {
        let text = format!("{}/{name}/{index}", host.store.display());
        let id = hex(text.as_bytes())[..32].to_owned();
        let layer = host.store.join(".cache/layers").join(&id);
        let _ = fs::remove_dir_all(&layer);
        fs::create_dir_all(layer.join("root")).unwrap();
        fill(&layer.join("root"));
        let made_by = format!("COPY {index} /");
        let record = json!({"schema": 1, "made_by": made_by, "parent": ids.first(), "size_bytes": 0, "created": 1});
        fs::write(layer.join("record.json"), record.to_string()).unwrap();
        ids.insert(0, id);
    }
    let image = host.store.join(".images").join(name);
    fs::create_dir_all(&image).unwrap();
    let record = json!({
        "schema": 1, "name": name, "from": "scratch", "layers": ids, "created": 1_700_000_000,
        "command": ["/srv/run", "--now"], "environment": {"LANG": "C", "KEY": "a=b"}, "working_directory": "/srv",
        "user": "12:34"
    });
    fs::write(image.join("record.json"), record.to_string()).unwrap();
}

/// The record of an image.
pub fn record(host: &Host, name: &str) -> Value {
    serde_json::from_slice(&fs::read(host.store.join(".images").join(name).join("record.json")).unwrap()).unwrap()
}

/// The folders of an image's layers, the topmost first.
pub fn layers(host: &Host, name: &str) -> Vec<PathBuf> {
    let record = record(host, name);
    let ids = record["layers"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
    ids.map(|id| host.store.join(".cache/layers").join(id).join("root")).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layout of somebody else's, of which each part can be wrong.
pub struct Forged {
    pub folder: tempfile::TempDir,
    pub machine: &'static str,
    pub layers: Vec<Value>,
    pub diff_ids: Vec<String>,
    pub config: Value,
}

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

impl Forged {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self { folder, machine, layers: Vec::new(), diff_ids: Vec::new(), config: json!({}) }
    }

    /// Writes a blob; its descriptor.
    pub fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let hex = hex(content);
        fs::write(self.folder.path().join("blobs/sha256").join(&hex), content).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()})
    }

    /// Adds a layer that is not compressed.
    pub fn layer(&mut self, archive: &[u8]) {
        let blob = self.blob(TAR, archive);
        self.layers.push(blob);
        self.diff_ids.push(format!("sha256:{}", hex(archive)));
    }

    /// Adds a layer compressed by a program, of a media type that ends so.
    pub fn packed(&mut self, archive: &[u8], program: &str, ending: &str) {
        let file = self.folder.path().join("layer");
        fs::write(&file, archive).unwrap();
        crate::sh(&format!("{program} < {0} > {0}.packed", file.display()));
        let blob = self.blob(&format!("{TAR}{ending}"), &fs::read(self.folder.path().join("layer.packed")).unwrap());
        self.layers.push(blob);
        self.diff_ids.push(format!("sha256:{}", hex(archive)));
    }

    /// The manifest's descriptor, with all that it leads to.
    pub fn manifest(&self) -> Value {
        let config = json!({
            "architecture": self.machine, "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids}
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": self.layers});
        let mut entry = self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        entry["platform"] = json!({"architecture": self.machine, "os": "linux"});
        entry
    }

    /// Writes the index; then it is a layout.
    pub fn finish(self) -> tempfile::TempDir {
        let index = json!({"schemaVersion": 2, "manifests": [self.manifest()]});
        fs::write(self.folder.path().join("index.json"), index.to_string()).unwrap();
        fs::write(self.folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        self.folder
    }
}

/// An archive of some entries.
pub fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

/// Adds an entry whatever its path is.
pub fn add(to: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, link: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    for set in [tar::Header::set_uid, tar::Header::set_gid, tar::Header::set_mtime] {
        set(&mut header, 0);
    }
    header.set_size(content.len() as u64);
    header.set_cksum();
    to.append(&header, content).unwrap();
}
