//! Killed at any moment, not only between steps: in the middle of a system call, of a write, of a program it started.

use std::fs;
use std::time::{Duration, Instant};

use crate::test_store::{IMAGE, Snapshot, TestStore};
use testlab::host::within;
use testlab::tally::{Tally, is_full};

/// How often each of the six commands is killed.
fn rounds() -> u32 {
    if is_full() { 84 } else { 10 }
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_killed_at_a_random_moment_is_recovered_from_every_time() {
    let store = TestStore::with_own_cache("random");
    let before = store.baseline(true);

    let run = |detach: &'static [&'static str]| {
        let command = [&["run"], detach, &[IMAGE, "eg", "--", "sleep", "0.01"]].concat();
        kills(&store, &before, if detach.is_empty() { "run" } else { "run --detach" }, &command, |_| (), is_free);
    };
    run(&[]);
    run(&["-d"]);
    let stop = ["stop", "-t", "0", "eg"];
    kills(&store, &before, "stop", &stop, |_| networked(&store, "eg"), is_free);

    let add = ["addnetwork", "eg", "-i", "-e", "3000:8080"];
    kills(
        &store,
        &before,
        "addnetwork",
        &add,
        |_| store.host.start("eg"),
        |store| {
            store.host.ok(&add);
            store.host.ok(&["exec", "eg", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
            is_free_after_stop(store, "eg");
        },
    );
    let peer = ["peer", "eg", "db"];
    kills(
        &store,
        &before,
        "peer",
        &peer,
        |_| ["eg", "db"].iter().for_each(|name| networked(&store, name)),
        |store| {
            store.host.ok(&peer);
            store.host.ok(&["exec", "db", "--", "ping", "-c1", "-W2", "eg"]);
            is_free_after_stop(store, "eg");
            is_free_after_stop(store, "db");
        },
    );

    let file = store.context.path().join("Conductorfile");
    fs::write(&file, "FROM img\nCOPY a /a\nRUN cp /a /b\nWORKDIR /w\n").unwrap();
    let build = ["build", "made", file.to_str().unwrap()];
    let content = |round: u32| fs::write(store.context.path().join("a"), vec![round as u8; 1 << 20]).unwrap();
    kills(&store, &before, "build", &build, content, |store| {
        store.host.ok(&build);
        store.host.ok(&["run", "--rm", "made", "look", "--", "cmp", "/a", "/b"]);
        store.host.ok(&["rmi", "made"]);
        store.host.ok(&["rmcache"]);
    });
}

fn networked(store: &TestStore, name: &str) {
    store.host.ok(&["run", "-d", IMAGE, name, "--", "sleep", "infinity"]);
    store.host.ok(&["addnetwork", name, "-i"]);
}

fn is_free_after_stop(store: &TestStore, name: &str) {
    store.host.ok(&["stop", "-t", "0", name]);
    store.host.ok(&["run", "--rm", IMAGE, name, "--", "true"]);
}

/// What was killed may be there, whole; after that its name is free.
fn is_free(store: &TestStore) {
    let begun = Instant::now();
    loop {
        if store.lists("eg") {
            // It may go by itself meanwhile, when its monitor is at it.
            store.host.run(&["stop", "-t", "0", "eg"]);
        }
        let again = store.host.run(&["run", "--rm", IMAGE, "eg", "--", "true"]);
        if again.code == 0 {
            return;
        }
        assert!(
            again.err.contains("it already exists") && begun.elapsed() < within(Duration::from_secs(10)),
            "{again:?}"
        );
    }
}

/// Kills `command` so many times, each time at another moment between its beginning and its usual end.
fn kills(
    store: &TestStore,
    before: &Snapshot,
    name: &str,
    command: &[&str],
    arrange: impl Fn(u32),
    recover: impl Fn(&TestStore) + Copy,
) {
    // How long it takes when nobody kills it.
    arrange(0);
    let begun = Instant::now();
    store.host.ok(command);
    let usual = begun.elapsed().min(Duration::from_millis(500));
    recover(store);
    let mut tally = Tally::new("kills", name);
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 1..=rounds() {
        // Marsaglia's xorshift: the moments are the same in every run, and as good as random.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let moment = usual.mul_f64((chance % 1000) as f64 / 900.0);
        tally.case(format!("round {round}, after {moment:?}"), || {
            arrange(round);
            store.killed_after(moment, command);
            recover(store);
            store.assert_unchanged(before, "afterwards");
        });
    }
    tally.end();
}
