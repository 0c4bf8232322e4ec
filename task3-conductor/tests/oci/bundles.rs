//! A container of ours, and of runc from its bundle: the same process in the same surroundings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{has, sh};
use testlab::host::Host;

/// What differs, and why. Each must differ: else its line has to go.
const DIFFERENT: [(&str, &str); 4] = [
    ("/", "a folder of the bundle, and no overlay with nosuid and nodev: the specification has no word for one"),
    ("/proc/acpi", "masked by an empty tmpfs of runc's, with its own size and flags"),
    ("/sys/firmware", "masked by an empty tmpfs of runc's, with its own size and flags"),
    ("/proc/scsi", "masked by an empty tmpfs of runc's, with its own size and flags"),
];

const LOOK: &str = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask)' /proc/self/status; cat /proc/self/limits; hostname; pwd; env | sort | grep -vE '^(_|SHLVL)='; echo ==; cat /proc/self/mounts";

#[test]
#[ignore = "needs root: make test"]
fn runc_starts_the_same_program_from_a_bundle() {
    if !has("runc") {
        return;
    }
    let (host, folder) = (Host::new("oci-bundle"), tempfile::tempdir().unwrap());
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let volume = format!("{}:/mnt:ro", shared.display());
    let options =
        ["run", "-d", "--hostname", "same", "-e", "WHO=me", "-w", "/tmp", "-v", &volume, "--tmpfs", "/var/tmp:size=1m"];
    host.ok(&[&options[..], &["--cap-add", "NET_RAW", "--cap-drop", "KILL", "img", "eg", "--", "sleep", "infinity"]]
        .concat());
    let bundle = folder.path().join("bundle");
    host.ok(&["bundle", "eg", bundle.to_str().unwrap()]);
    let config = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(spec["process"]["args"], serde_json::json!(["sleep", "infinity"]));
    spec["process"]["args"] = serde_json::json!(["bash", "-c", LOOK]);
    fs::write(&config, spec.to_string()).unwrap();
    let ours = host.ok(&["-q", "exec", "eg", "--", "bash", "-c", LOOK]);
    let theirs = sh(&format!(
        "cd {}; runc --root {}/runc run oci-{}",
        bundle.display(),
        folder.path().display(),
        std::process::id()
    ));
    let ((ours, our_mounts), (theirs, their_mounts)) =
        (ours.split_once("==\n").unwrap(), theirs.split_once("==\n").unwrap());
    assert_eq!(ours, theirs);
    let (ours, theirs) = (mounts(our_mounts), mounts(their_mounts));
    let different: Vec<&String> =
        ours.keys().chain(theirs.keys()).filter(|place| ours.get(*place) != theirs.get(*place)).collect();
    for place in &different {
        assert!(
            DIFFERENT.iter().any(|(known, _)| known == place),
            "{place}: ours {:?}, runc's {:?}",
            ours.get(*place),
            theirs.get(*place)
        );
    }
    assert!(different.iter().any(|place| *place == "/"));
    // What the filter refuses, both refuse with the same errno.
    let again = host.run(&["bundle", "eg", bundle.to_str().unwrap()]);
    assert!(again.code == 125 && again.err.contains("the folder is not empty"), "{again:?}");
    let weak = host.run(&["bundle", "nosuch", "/nosuch"]);
    assert!(weak.err.contains("cannot find container nosuch"), "{weak:?}");
    assert!(!Path::new("/nosuch").exists());
}

/// File system and options by place.
fn mounts(text: &str) -> BTreeMap<String, String> {
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.map(|fields| (fields[1].to_owned(), format!("{} {}", fields[2], fields[3]))).collect()
}
