//! `make bench`: how long the daily commands take, beside peers, and whether it stays so with 300 containers.
//!
//! Each round runs every command once, in turn, so that a slow moment of the machine hits all of them; what counts is
//! the median and its ratio to the peer. Absolute times are this machine's and nobody else's. Peers that are not
//! installed are left out and named. Usage, as root: `bench FOLDER_OF_BINARIES [ROUNDS]`; it makes itself a network
//! namespace, so the host's is left alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot run may end in a panic"
)]

mod clock;
mod peers;
mod scale;
mod setup;

use std::path::PathBuf;

use clock::{Subject, report};
use nix::sched::{CloneFlags, unshare};
use setup::BenchSetup;

fn main() {
    let binaries = PathBuf::from(std::env::args().nth(1).expect("usage: bench FOLDER_OF_BINARIES [ROUNDS]"));
    let rounds = std::env::args().nth(2).map_or(40, |rounds| rounds.parse().unwrap());
    unshare(CloneFlags::CLONE_NEWNET).expect("this takes root");
    let setup = BenchSetup::set(&binaries);
    println!("medians of {rounds} interleaved rounds, in ms\n");
    report("start a command, wait for its end", &starts(&setup), rounds);
    report("start in the background, then remove", &detached_starts(&setup), rounds);
    report("enter a running container", &execs(&setup), rounds);
    report("build what is built, list images", &images(&setup), rounds);
    scale::report(&setup, rounds.div_ceil(4));
}

fn starts(setup: &BenchSetup) -> Vec<Subject> {
    let run = setup.conductor(&["run", "bench", "timed", "--", "true"]);
    let floor = |program: &str, name| {
        let line = [setup.floor(program), setup.layer.clone(), setup.path("floor"), "true".to_owned()].to_vec();
        Subject::new(name, line).tidy(["rm", "-rf", &setup.path("floor/rootfs")])
    };
    let mut subjects = vec![
        floor("floor", "the floor (bare system calls)"),
        floor("floor-static", "the floor, linked as conductor is"),
        Subject::new("conductor run", run).tidy(setup.conductor(&["stop", "timed"])),
    ];
    subjects.extend(peers::starts(setup));
    subjects
}

fn detached_starts(setup: &BenchSetup) -> Vec<Subject> {
    // `cat` has no handler for SIGTERM either; conductor sees that and does not wait for it to obey.
    let start = setup.conductor(&["run", "-d", "bench", "timed", "--", "sleep", "infinity"]);
    let mut subjects = vec![Subject::new("conductor run -d, stop", start).then(setup.conductor(&["stop", "timed"]))];
    subjects.extend(peers::detached_starts(setup));
    subjects
}

fn execs(setup: &BenchSetup) -> Vec<Subject> {
    let init = setup.init.to_string();
    let words = ["nsenter", "--target", &init, "--uts", "--pid", "--net", "--mount", "--ipc", "--cgroup", "true"];
    let mut subjects = vec![
        Subject::new("nsenter", words),
        Subject::new("conductor exec", setup.conductor(&["exec", "held", "--", "true"])),
    ];
    subjects.extend(peers::execs(setup));
    subjects
}

fn images(setup: &BenchSetup) -> Vec<Subject> {
    vec![
        Subject::new("conductor ps", setup.conductor(&["ps"])),
        Subject::new("conductor images (one of 2 GiB)", setup.conductor(&["images"])),
        Subject::new("conductor build, nothing changed", setup.conductor(&["build", "bench", &setup.path("Small")])),
        Subject::new("the same, with 2 GiB to compare", setup.conductor(&["build", "large", &setup.path("Large")])),
    ]
}
