//! Files of conductor's own that are damaged, gone, or something else: said, passed over, and removable.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::test_store::{IMAGE, TestStore, entries};
use testlab::tally::Tally;

type Damage = (&'static str, fn(&Path));

/// What can be found where a file of ours should be.
const DAMAGE: [Damage; 8] = [
    ("empty", |path| fs::write(path, "").unwrap()),
    ("cut short", |path| {
        let text = fs::read(path).unwrap();
        fs::write(path, &text[..text.len() / 2]).unwrap();
    }),
    ("other bytes", |path| fs::write(path, [0, 159, 146, 150, 10]).unwrap()),
    ("of another shape", |path| fs::write(path, "{\"schema\": 1, \"name\": 7}\n").unwrap()),
    ("newer", |path| fs::write(path, "{\"schema\": 99}\n").unwrap()),
    ("a folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("gone", |path| fs::remove_file(path).unwrap()),
    ("a link to nowhere", |path| {
        fs::remove_file(path).unwrap();
        symlink("/no/such/file", path).unwrap();
    }),
];

#[test]
#[ignore = "needs root: make test"]
fn a_container_with_a_damaged_file_does_not_hide_others_and_can_be_stopped() {
    let store = TestStore::new("state-container");
    let before = store.baseline(true);
    store.host.start("whole");
    for file in ["record.json", "network.json", "ledger", "hosts", "resolv.conf", "log"] {
        let mut tally = Tally::new("state files", format!("a container's {file}"));
        for (damage, inflict) in DAMAGE {
            tally.case(damage, || {
                store.host.start("hurt");
                store.host.ok(&["addnetwork", "hurt", "-i"]);
                let path = store.host.container("hurt").join(file);
                inflict(&path);
                let listed = store.host.ok(&["ps"]);
                assert!(listed.contains("whole") && listed.contains("running"), "{listed}");
                for command in [
                    &["exec", "hurt", "--", "true"][..],
                    &["addnetwork", "hurt", "-i"],
                    &["inspect", "hurt"],
                    &["logs", "hurt"],
                ] {
                    let outcome = store.host.run(command);
                    // Either it does not need that file, or it says which one it cannot use.
                    assert!(!outcome.err.contains("panicked"), "{outcome:?}");
                    if outcome.code != 0 {
                        assert!(outcome.code == 125 && outcome.err.lines().count() == 1, "{command:?}: {outcome:?}");
                    }
                }
                if store.host.container("hurt").exists() {
                    let stopped = store.host.run(&["stop", "-t", "0", "hurt"]);
                    assert_eq!(stopped.code, 0, "{stopped:?}");
                    if file == "ledger" {
                        let is_seen = ["other bytes", "of another shape", "newer", "a folder", "a link to nowhere"]
                            .contains(&damage);
                        assert_eq!(stopped.err.contains("recorded sysctl values are lost"), is_seen, "{stopped:?}");
                        // What this had been stood in there and nowhere else.
                        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
                    }
                }
                store.host.ok(&["run", "--rm", IMAGE, "hurt", "--", "true"]);
                assert!(store.host.ok(&["ps"]).contains("whole"));
            });
            if store.host.container("hurt").exists() {
                // After a case that failed.
                let _ = fs::remove_file(store.host.container("hurt").join("ledger"));
                let _ = fs::remove_dir_all(store.host.container("hurt").join("ledger"));
                store.host.run(&["stop", "-t", "0", "hurt"]);
            }
        }
        tally.end();
    }
    store.host.ok(&["stop", "whole"]);
    store.assert_unchanged(&before, "after all of them");
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_or_layer_with_a_damaged_file_is_named_and_can_be_removed_and_built_again() {
    let store = TestStore::with_own_cache("state-image");
    let before = store.baseline(false);
    let file = store.context.path().join("Conductorfile");
    fs::write(&file, "FROM img\nWORKDIR /w\n").unwrap();
    let build = ["build", "made", file.to_str().unwrap()];
    for what in ["image", "layer"] {
        let mut tally = Tally::new("state files", format!("the record of a {what}"));
        for (damage, inflict) in DAMAGE {
            tally.case(damage, || {
                store.host.ok(&build);
                let image = store.host.store.join(".images/made/record.json");
                let record: serde_json::Value = serde_json::from_slice(&fs::read(&image).unwrap()).unwrap();
                let layer = store.host.store.join(".cache/layers").join(record["layers"][0].as_str().unwrap());
                inflict(&if what == "image" { image } else { layer.join("record.json") });
                let listed = store.host.ok(&["images"]);
                assert!(listed.contains("img ") && listed.contains("damaged"), "{listed}");
                if what == "image" {
                    let refused = store.host.run(&["run", "made", "eg", "--", "true"]);
                    assert!(refused.code == 125 && refused.err.contains("made/record.json"), "{refused:?}");
                }
                store.host.ok(&["rmi", "made"]);
                store.host.ok(&["rmcache"]);
                store.host.ok(&build);
                store.host.ok(&["run", "--rm", "made", "eg", "--", "ls", "/w"]);
                store.host.ok(&["rmi", "made"]);
                store.host.ok(&["rmcache"]);
                store.assert_unchanged(&before, "afterwards");
            });
        }
        tally.end();
    }
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_whose_layer_is_gone_is_refused_with_what_to_do_and_leaves_nothing() {
    let store = TestStore::with_own_cache("state-layer");
    let file = store.context.path().join("Conductorfile");
    fs::write(&file, "FROM img\nWORKDIR /w\n").unwrap();
    store.host.ok(&["build", "made", file.to_str().unwrap()]);
    let before = store.baseline(false);
    let record = fs::read(store.host.store.join(".images/made/record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let layer = store.host.store.join(".cache/layers").join(record["layers"][0].as_str().unwrap());
    // On the same file system: /tmp may be another.
    let away = store.host.store.with_extension("layer-away");
    fs::rename(&layer, &away).unwrap();
    let refused = store.host.run(&["run", "made", "eg", "--", "true"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.err.contains("there is no folder") && refused.err.contains(layer.to_str().unwrap()), "{refused:?}");
    assert!(store.host.ok(&["images"]).contains("damaged"));
    fs::write(&file, "FROM made\n").unwrap();
    let refused = store.host.run(&["build", "child", file.to_str().unwrap()]);
    assert!(refused.err.contains("is missing; build made again"), "{refused:?}");
    fs::rename(&away, &layer).unwrap();
    store.host.ok(&["run", "--rm", "made", "eg", "--", "true"]);
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn what_is_not_conductors_own_in_its_folders_is_left_alone() {
    let store = TestStore::new("state-foreign");
    let before = store.baseline(false);
    let foreign = [".containers/a file", ".containers/notes.txt", ".images/README", ".images/-x"]
        .map(|path| store.host.store.join(path));
    foreign.iter().for_each(|path| fs::write(path, "mine").unwrap());
    let secret = store.context.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("kept"), "mine").unwrap();
    // A link where a container's folder would be.
    symlink(&secret, store.host.container("link")).unwrap();
    for command in [
        &["ps"][..],
        &["images"],
        &["stop", "link"],
        &["run", IMAGE, "link", "--", "true"],
        &["inspect", "link"],
        &["rmcache"],
    ] {
        let outcome = store.host.run(command);
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
    }
    assert_eq!(fs::read_to_string(secret.join("kept")).unwrap(), "mine");
    assert_eq!(entries(&secret).len(), 1, "nothing was put through the link");
    for path in &foreign {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(store.host.container("link")).unwrap();
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn links_planted_where_conductor_writes_are_not_followed() {
    let store = TestStore::new("state-links");
    let before = store.baseline(true);
    let victim = store.context.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    store.host.start("web");
    let init = store.first_process("web");
    let dir = store.host.container("web");
    for file in ["record.new", "network.new", "exit"] {
        let _ = fs::remove_file(dir.join(file));
        symlink(&victim, dir.join(file)).unwrap();
    }
    fs::remove_file(dir.join("hosts")).unwrap();
    symlink(&victim, dir.join("hosts")).unwrap();
    fs::remove_file(dir.join("ledger")).unwrap();
    symlink(&victim, dir.join("ledger")).unwrap();
    let _ = store.host.run(&["addnetwork", "web", "-i"]);
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).unwrap();
    crate::test_store::until(|| store.host.run(&["ps"]).out.contains("exited"), "it has ended");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    store.host.ok(&["stop", "web"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    store.assert_unchanged(&before, "after stop");
}
