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
mod stage;

use std::path::PathBuf;

use clock::{Subject, report};
use nix::sched::{CloneFlags, unshare};
use stage::Stage;

fn main() {
    let binaries = PathBuf::from(std::env::args().nth(1).expect("usage: bench FOLDER_OF_BINARIES [ROUNDS]"));
    let rounds = std::env::args().nth(2).map_or(40, |rounds| rounds.parse().unwrap());
    unshare(CloneFlags::CLONE_NEWNET).expect("this takes root");
    let stage = Stage::set(&binaries);
    println!("medians of {rounds} interleaved rounds, in ms\n");
    report("start a command, wait for its end", &births(&stage), rounds);
    report("start in the background, then remove", &stays(&stage), rounds);
    report("enter a running container", &entries(&stage), rounds);
    report("build what is built, list images", &images(&stage), rounds);
    scale::report(&stage, rounds.div_ceil(4));
}

fn births(stage: &Stage) -> Vec<Subject> {
    let run = stage.conductor(&["run", "bench", "timed", "--", "true"]);
    let floor = |program: &str, name| {
        let line = [stage.floor(program), stage.layer.clone(), stage.path("floor"), "true".to_owned()].to_vec();
        Subject::new(name, line).tidy(["rm", "-rf", &stage.path("floor/rootfs")])
    };
    let mut subjects = vec![
        floor("floor", "the floor (bare system calls)"),
        floor("floor-static", "the floor, linked as conductor is"),
        Subject::new("conductor run", run).tidy(stage.conductor(&["stop", "timed"])),
    ];
    subjects.extend(peers::births(stage));
    subjects
}

fn stays(stage: &Stage) -> Vec<Subject> {
    // `cat` has no handler for SIGTERM either; conductor sees that and does not wait for it to obey.
    let start = stage.conductor(&["run", "-d", "bench", "timed", "--", "sleep", "infinity"]);
    let mut subjects = vec![Subject::new("conductor run -d, stop", start).then(stage.conductor(&["stop", "timed"]))];
    subjects.extend(peers::stays(stage));
    subjects
}

fn entries(stage: &Stage) -> Vec<Subject> {
    let init = stage.init.to_string();
    let words = ["nsenter", "--target", &init, "--uts", "--pid", "--net", "--mount", "--ipc", "--cgroup", "true"];
    let mut subjects = vec![
        Subject::new("nsenter", words),
        Subject::new("conductor exec", stage.conductor(&["exec", "held", "--", "true"])),
    ];
    subjects.extend(peers::entries(stage));
    subjects
}

fn images(stage: &Stage) -> Vec<Subject> {
    vec![
        Subject::new("conductor ps", stage.conductor(&["ps"])),
        Subject::new("conductor images (one of 2 GiB)", stage.conductor(&["images"])),
        Subject::new("conductor build, nothing changed", stage.conductor(&["build", "bench", &stage.path("Small")])),
        Subject::new("the same, with 2 GiB to compare", stage.conductor(&["build", "large", &stage.path("Large")])),
    ]
}
