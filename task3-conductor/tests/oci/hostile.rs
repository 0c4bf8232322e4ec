//! Images that lie, break off or want too much: one line, and nothing is left.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tar::EntryType::{self, Block, Directory, Link, Regular, Symlink};

use crate::planted::{Forged, add, alone, archive};
use crate::sh;
use testlab::host::{Host, within};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Loads it, and it must be refused in one line that says this; nothing is left of it.
fn refused(host: &Host, layout: &Path, words: &str) {
    let state = || [".images", ".cache/layers", ".cache/building"].map(|folder| names(&host.store.join(folder)));
    let before = state();
    let begun = Instant::now();
    let outcome = host.run(&["load", "-i", layout.to_str().unwrap(), "eg"]);
    let said: Vec<&str> = outcome.err.lines().filter(|line| !line.starts_with("  Unpacking")).collect();
    assert_eq!(outcome.code, 125, "{words}: {outcome:?}");
    assert!(
        said.len() == 1 && said[0].starts_with("conductor: cannot ") && said[0].contains(words),
        "{words}: {said:?}"
    );
    assert!(begun.elapsed() < within(Duration::from_secs(20)), "{words}: {:?}", begun.elapsed());
    assert_eq!(state(), before, "{words}");
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_hostile_archive_tries_is_refused() {
    let host = alone("oci-hostile");
    type Entries = &'static [(EntryType, &'static str, &'static str)];
    let cases: &[(Entries, &str)] = &[
        (&[(Regular, "../../escaped", "")], "could lead out of the layer"),
        (&[(Symlink, "out", "/tmp"), (Regular, "out/escaped", "")], "out is a link or a file, and no folder"),
        (&[(Link, "shadow", "../../../../etc/shadow")], "could lead out of the layer"),
        (&[(Symlink, "etc", "/etc"), (Link, "shadow", "etc/shadow")], "link to etc/shadow"),
        (&[(Link, "shadow", "etc/shadow")], "is in no layer"),
        (&[(Block, "disk", "")], "it is the device"),
        (&[(EntryType::Char, "whiteout", "")], "it is the device 0:0"),
        (&[(Regular, "etc/.wh...", "")], "whiteout without a name"),
        (&[(Directory, "a/", ""), (Regular, "a/b", ""), (Regular, "a", "")], "replace what the layer has of that name"),
    ];
    for (entries, words) in cases {
        let mut forged = Forged::new();
        forged.layer(&archive(|to| entries.iter().for_each(|(kind, path, link)| add(to, *kind, path, link, b""))));
        refused(&host, forged.finish().path(), words);
    }
    assert!(!Path::new("/tmp/escaped").exists());
    let mut forged = Forged::new();
    forged.layer(&archive(|to| {
        to.append_pax_extensions([("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..])]).unwrap();
        add(to, Directory, "etc/", "", b"");
    }));
    refused(&host, forged.finish().path(), "speaks to overlay");
    // A terabyte that is there in words only, and a name without an end.
    let mut bomb = archive(|to| add(to, Regular, "bomb", "", b""));
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&bomb[..512]);
    header.set_size(1 << 40);
    header.set_cksum();
    bomb[..512].copy_from_slice(header.as_bytes());
    let mut forged = Forged::new();
    forged.layer(&bomb);
    refused(&host, forged.finish().path(), "are the most");
    let mut forged = Forged::new();
    forged.packed(
        &archive(|to| add(to, EntryType::GNULongName, "././@LongLink", "", &vec![b'x'; 6 << 20])),
        "gzip",
        "+gzip",
    );
    refused(&host, forged.finish().path(), "a header of it has no end");
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_that_is_not_what_it_says_is_refused() {
    let host = alone("oci-lies");
    let file = archive(|to| add(to, Regular, "file", "", b"content"));
    let forged = || {
        let mut forged = Forged::new();
        forged.layer(&file);
        forged
    };
    let layer = |forged: &Forged| {
        forged.folder.path().join("blobs").join(forged.layers[0]["digest"].as_str().unwrap().replace(':', "/"))
    };
    let it = forged();
    fs::write(layer(&it), file.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).unwrap();
    refused(&host, it.finish().path(), "its content has the digest");
    let it = forged();
    fs::write(layer(&it), &file[..700]).unwrap();
    refused(&host, it.finish().path(), "it has 700 bytes, and");
    let it = forged();
    fs::remove_file(layer(&it)).unwrap();
    refused(&host, it.finish().path(), "it is not there");
    let mut it = forged();
    it.diff_ids = vec![format!("sha256:{}", "0".repeat(64))];
    refused(&host, it.finish().path(), "unpacked it has the digest");
    let mut it = Forged::new();
    it.packed(&file, "gzip | head -c 60", "+gzip");
    refused(&host, it.finish().path(), "cannot unpack layer");
    for (kind, words) in [
        ("application/vnd.oci.image.layer.v1.tar+xz", "is not known here"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "it is a foreign layer"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "it is a foreign layer"),
    ] {
        let mut it = forged();
        it.layers[0]["mediaType"] = json!(kind);
        refused(&host, it.finish().path(), words);
    }
    let mut it = forged();
    it.machine = "s390x";
    refused(&host, it.finish().path(), "it is for linux/s390x, and this machine is linux/");
    let mut it = forged();
    (0..127).for_each(|_| it.layer(&file));
    refused(&host, it.finish().path(), "it has 128 layers");
    let mut it = forged();
    it.diff_ids.clear();
    refused(&host, it.finish().path(), "its config lists 0 layers");
    let mut it = forged();
    it.config = json!({"Env": ["x".repeat(5 << 20)]});
    refused(&host, it.finish().path(), "and JSON of an image at most");
    let mut it = forged();
    it.config = json!({"Env": ["no variable"]});
    refused(&host, it.finish().path(), "its environment is \"no variable\"");
    let folder = tempfile::tempdir().unwrap();
    refused(&host, folder.path(), "neither index.json (OCI) nor manifest.json");
    let short = folder.path().join("short.tar");
    fs::write(&short, &archive(|to| add(to, Regular, "index.json", "", &[b' '; 4096]))[..1000]).unwrap();
    refused(&host, &short, "it ends in the middle of index.json");
    let list = json!([{"Config": "../../etc/passwd", "Layers": ["a"]}]).to_string();
    fs::write(folder.path().join("manifest.json"), list).unwrap();
    refused(&host, folder.path(), "etc/passwd");
    assert!(host.run(&["save", "nosuch", "-o", short.to_str().unwrap()]).err.contains("cannot find image nosuch"));
}

#[test]
#[ignore = "needs root: make test"]
fn a_full_disk_and_ctrl_c_leave_nothing() {
    let host = alone("oci-broken-off");
    // Not compressed, and no two blocks alike.
    let content: Vec<u8> =
        (0_u32..40 << 18).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let mut forged = Forged::new();
    forged.layer(&archive(|to| add(to, Regular, "large", "", &content)));
    let layout = forged.finish();
    let path = layout.path().to_str().unwrap();
    let mut child = host.conductor(&["load", "-i", path, "eg"]).spawn().unwrap();
    let building = host.store.join(".cache/building");
    let begun = Instant::now();
    while !names(&building).iter().any(|name| fs::metadata(building.join(name).join("root/large")).is_ok()) {
        assert!(
            begun.elapsed() < within(Duration::from_secs(60)) && child.try_wait().unwrap().is_none(),
            "it did not come"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    assert_eq!(names(&building), Vec::<String>::new());
    assert!(!host.store.join(".images/eg").exists());
    let small = tempfile::tempdir().unwrap();
    mount(Some("tmpfs"), small.path(), Some("tmpfs"), MsFlags::empty(), Some("size=4m")).unwrap();
    let root = small.path().to_str().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_conductor"));
    let full = command.args(["--root", root, "load", "-i", path, "eg"]).output().unwrap();
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(said.contains("unpack large: cannot write it: No space left on device (ENOSPC)"), "{said}");
    assert_eq!(names(&small.path().join(".cache/building")), Vec::<String>::new());
    // The other way: an archive that does not fit is not there.
    host.ok(&["load", "-i", path, "eg"]);
    sh(&format!("rm -r {root}/.[a-z]*"));
    let out = host.run(&["save", "eg", "-o", &format!("{root}/eg.tar")]);
    assert!(out.code == 125 && out.err.contains("No space left on device (ENOSPC)"), "{out:?}");
    assert_eq!(names(small.path()), Vec::<String>::new());
    nix::mount::umount2(small.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
}
