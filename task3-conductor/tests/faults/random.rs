//! Killed at any moment, not only between steps: in the middle of a system call, of a write, of a program it started.

use std::fs;
use std::time::{Duration, Instant};

use crate::host::within;
use crate::tally::{Tally, is_full};
use crate::yard::{IMAGE, Trace, Yard};

/// How often each of the six commands is killed.
fn rounds() -> u32 {
    if is_full() { 84 } else { 10 }
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_killed_at_a_random_moment_is_recovered_from_every_time() {
    let yard = Yard::with_own_cache("random");
    let before = yard.calm(true);

    let run = |detach: &'static [&'static str]| {
        let command = [&["run"], detach, &[IMAGE, "eg", "--", "sleep", "0.01"]].concat();
        kills(&yard, &before, if detach.is_empty() { "run" } else { "run --detach" }, &command, |_| (), is_free);
    };
    run(&[]);
    run(&["-d"]);
    let stop = ["stop", "-t", "0", "eg"];
    kills(&yard, &before, "stop", &stop, |_| networked(&yard, "eg"), is_free);

    let add = ["addnetwork", "eg", "-i", "-e", "3000:8080"];
    kills(
        &yard,
        &before,
        "addnetwork",
        &add,
        |_| yard.host.start("eg"),
        |yard| {
            yard.host.ok(&add);
            yard.host.ok(&["exec", "eg", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
            is_free_after_stop(yard, "eg");
        },
    );
    let peer = ["peer", "eg", "db"];
    kills(
        &yard,
        &before,
        "peer",
        &peer,
        |_| ["eg", "db"].iter().for_each(|name| networked(&yard, name)),
        |yard| {
            yard.host.ok(&peer);
            yard.host.ok(&["exec", "db", "--", "ping", "-c1", "-W2", "eg"]);
            is_free_after_stop(yard, "eg");
            is_free_after_stop(yard, "db");
        },
    );

    let file = yard.context.path().join("Conductorfile");
    fs::write(&file, "FROM img\nCOPY a /a\nRUN cp /a /b\nWORKDIR /w\n").unwrap();
    let build = ["build", "made", file.to_str().unwrap()];
    let content = |round: u32| fs::write(yard.context.path().join("a"), vec![round as u8; 1 << 20]).unwrap();
    kills(&yard, &before, "build", &build, content, |yard| {
        yard.host.ok(&build);
        yard.host.ok(&["run", "--rm", "made", "look", "--", "cmp", "/a", "/b"]);
        yard.host.ok(&["rmi", "made"]);
        yard.host.ok(&["rmcache"]);
    });
}

fn networked(yard: &Yard, name: &str) {
    yard.host.ok(&["run", "-d", IMAGE, name, "--", "sleep", "infinity"]);
    yard.host.ok(&["addnetwork", name, "-i"]);
}

fn is_free_after_stop(yard: &Yard, name: &str) {
    yard.host.ok(&["stop", "-t", "0", name]);
    yard.host.ok(&["run", "--rm", IMAGE, name, "--", "true"]);
}

/// What was killed may be there, whole; after that its name is free.
fn is_free(yard: &Yard) {
    let begun = Instant::now();
    loop {
        if yard.lists("eg") {
            // It may go by itself meanwhile, when its monitor is at it.
            yard.host.run(&["stop", "-t", "0", "eg"]);
        }
        let again = yard.host.run(&["run", "--rm", IMAGE, "eg", "--", "true"]);
        if again.code == 0 {
            return;
        }
        assert!(
            again.err.contains("there is one of that name") && begun.elapsed() < within(Duration::from_secs(10)),
            "{again:?}"
        );
    }
}

/// Kills `command` so many times, each time at another moment between its beginning and its usual end.
fn kills(
    yard: &Yard,
    before: &Trace,
    name: &str,
    command: &[&str],
    arrange: impl Fn(u32),
    recover: impl Fn(&Yard) + Copy,
) {
    // How long it takes when nobody kills it.
    arrange(0);
    let begun = Instant::now();
    yard.host.ok(command);
    let usual = begun.elapsed().min(Duration::from_millis(500));
    recover(yard);
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
            yard.killed_after(moment, command);
            recover(yard);
            yard.assert_as(before, "afterwards");
        });
    }
    tally.end();
}
