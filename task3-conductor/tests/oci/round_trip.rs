//! Out by us, through another tool, in by us: the same tree.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use tar::EntryType;

use crate::planted::{Forged, add, alone, archive, layers, plant, record};
use crate::trees::{listing, merged};
use crate::{has, sh};

fn lower(root: &Path) {
    fs::create_dir_all(root.join("etc/deep/deeper")).unwrap();
    fs::create_dir_all(root.join("gone/all")).unwrap();
    fs::create_dir_all(root.join("srv")).unwrap();
    fs::write(root.join("etc/motd"), "hello\n").unwrap();
    fs::write(root.join("etc/deep/hidden"), "x").unwrap();
    fs::write(root.join("srv/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("srv/run"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("srv/run"), root.join("srv/again")).unwrap();
    symlink("/etc/../etc/motd", root.join("srv/link")).unwrap();
    let hole = File::create(root.join("srv/hole")).unwrap();
    hole.write_all_at(b"end", 3 << 20).unwrap();
    fs::write(root.join("srv").join("long".repeat(50)), "a long name").unwrap();
    fs::write(root.join("srv/grüße\nzwei"), "").unwrap();
    chown(root.join("etc/deep"), Some(12), Some(3_000_000)).unwrap();
    mknodat(CWD, root.join("srv/pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (name, value) in [("user.note", &b"hi\0there"[..]), ("security.capability", &capability)] {
        rustix::fs::setxattr(root.join("etc/motd"), name, value, XattrFlags::empty()).unwrap();
    }
    sh(&format!(
        "touch -h -d 2001-02-03T04:05:06.789 {0}/srv/run {0}/srv/link; touch -d 1965-01-01T00:00:00.25 {0}/etc/motd",
        root.display()
    ));
}

fn upper(root: &Path) {
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::create_dir_all(root.join("srv")).unwrap();
    let gone = |path: &str| mknodat(CWD, root.join(path), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    gone("gone");
    gone("srv/link");
    rustix::fs::setxattr(root.join("etc/deep"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    fs::write(root.join("etc/deep/new"), "new").unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_comes_back_from_other_tools_as_it_went() {
    let (host, folder) = (alone("oci-round"), tempfile::tempdir().unwrap());
    plant(&host, "eg", &[&lower, &upper]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let before = merged(&layers(&host, "eg"));
    assert!(before.iter().all(|line| !line.starts_with("gone") && !line.contains("hidden")), "{before:#?}");
    let digest = host.ok(&["save", "eg", "-o", &path("eg.tar")]);
    assert_eq!(host.ok(&["save", "eg", "-o", &path("eg/")]), digest, "the same image has the same digest");
    host.ok(&["load", "-i", &path("eg.tar"), "back"]);
    assert_eq!(merged(&layers(&host, "back")), before);
    for field in ["command", "environment", "working_directory", "user", "created"] {
        assert_eq!(record(&host, "back")[field], record(&host, "eg")[field], "{field}");
    }
    let hole = fs::metadata(layers(&host, "back")[1].join("srv/hole")).unwrap();
    assert!(hole.blocks() < 100, "what was a hole is one again: {} blocks", hole.blocks());
    host.ok(&["load", "-i", &path("eg")]);
    assert_eq!(layers(&host, "eg"), layers(&host, "back"), "layers that are there are used");
    assert_eq!(host.ok(&["save", "back", "-o", &path("again.tar")]).len(), digest.len());
    if has("skopeo") {
        sh(&format!(
            "cd {}; skopeo copy -q oci-archive:eg.tar docker-archive:docker.tar:lab/eg:1",
            folder.path().display()
        ));
        host.ok(&["load", "-i", &path("docker.tar")]);
        assert_eq!(layers(&host, "eg-1"), layers(&host, "back"), "the same diff IDs are the same layers");
        let history = sh(&format!("skopeo inspect --config oci:{} | tr -d ' \\n'", path("eg")));
        assert!(history.contains("COPY0/") && history.contains("COPY1/"), "{history}");
    }
    if has("umoci") {
        sh(&format!("cd {}; umoci unpack --image eg:eg bundle", folder.path().display()));
        assert_eq!(listing(&folder.path().join("bundle/rootfs")), before);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn layers_of_other_tools_are_taken_however_they_are_packed() {
    let host = alone("oci-packed");
    for (program, ending) in [("cat", ""), ("gzip", "+gzip"), ("zstd -q", "+zstd")] {
        if !has(program.split(' ').next().unwrap()) {
            continue;
        }
        let mut forged = Forged::new();
        forged.packed(
            &archive(|to| {
                add(to, EntryType::Directory, "etc/", "", b"");
                add(to, EntryType::Regular, "etc/motd", "", &vec![b'x'; 200_000]);
                add(to, EntryType::Regular, "etc/rest", "", b"rest");
            }),
            program,
            ending,
        );
        // No entry for the folder: it is like the one below. A link to a file of the layer below. A folder in a file's place.
        forged.layer(&archive(|to| {
            add(to, EntryType::Regular, "etc/.wh.rest", "", b"");
            add(to, EntryType::Link, "etc/linked", "etc/motd", b"");
            add(to, EntryType::Directory, "etc/rest/", "", b"");
        }));
        forged.config = serde_json::json!({"Entrypoint": ["/init"], "Cmd": ["--all"]});
        let layout = forged.finish();
        host.ok(&["load", "-i", layout.path().to_str().unwrap(), "packed"]);
        let merged = merged(&layers(&host, "packed"));
        let line = |path: &str| merged.iter().find(|line| line.split(' ').next() == Some(path)).unwrap();
        assert!(line("etc").contains("755 0:0 0.000000000 folder"), "{program}: {merged:#?}");
        assert!(
            line("etc/motd").contains("file 200000") && line("etc/motd").contains("first etc/linked"),
            "{merged:#?}"
        );
        assert!(line("etc/rest").contains("folder"), "{program}: {merged:#?}");
        assert_eq!(record(&host, "packed")["command"], serde_json::json!(["/init", "--all"]));
    }
}
