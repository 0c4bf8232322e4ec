//! What a command costs when 1, 10, 100 and 300 containers are there, each with a network of its own.

use std::fs;

use crate::clock::{must, time};
use crate::setup::BenchSetup;

const SIZES: [usize; 4] = [1, 10, 100, 300];
/// The assignment's 192.168.0.0/16 has 255 subnets to give.
const POOL: &str = "172.16.0.0/12";

pub fn report(setup: &BenchSetup, rounds: usize) {
    setup.at_end(setup.conductor(&["stop", "more"]));
    println!("{:<38} {}", "with so many networked containers", SIZES.map(|size| format!("{size:>8}")).join(" "));
    let timed: Vec<Vec<f64>> = SIZES
        .into_iter()
        .map(|size| {
            fill(setup, size);
            commands(setup)
                .iter()
                .map(|command| time(&command.before, &command.line, &command.after, rounds).as_secs_f64() * 1e3)
                .collect()
        })
        .collect();
    for (row, command) in commands(setup).iter().enumerate() {
        println!(
            "  {:<36} {}",
            command.name,
            timed.iter().map(|column| format!("{:>8.2}", column[row])).collect::<Vec<_>>().join(" ")
        );
    }
    println!("\nmemory of a detached container's monitor: {} KiB resident\n", monitor_kib(setup));
}

/// A command line to time, and what has to be so before it and is put right after it, neither of them timed.
struct Timed {
    name: &'static str,
    before: Vec<String>,
    line: Vec<String>,
    after: Vec<String>,
}

fn commands(setup: &BenchSetup) -> Vec<Timed> {
    let line = |words: &[&str]| setup.conductor(words);
    let start = || line(&["run", "-d", "bench", "more", "--", "sleep", "infinity"]);
    let stop = || line(&["stop", "more"]);
    let nothing = Vec::new;
    let row = |name, before, line, after| Timed { name, before, line, after };
    vec![
        row("run … true", nothing(), line(&["run", "bench", "more", "--", "true"]), stop()),
        row("run -d", nothing(), start(), stop()),
        row("exec … true", nothing(), line(&["exec", "held", "--", "true"]), nothing()),
        row("ps", nothing(), line(&["ps"]), nothing()),
        row("addnetwork -i -e", start(), line(&["addnetwork", "more", "-i", "-e", "3000:80", "--pool", POOL]), stop()),
        row("stop", start(), stop(), nothing()),
    ]
}

/// Starts containers until there are so many.
fn fill(setup: &BenchSetup, size: usize) {
    for number in 0..size {
        if fs::exists(setup.path(&format!(".containers/{}", name(number)))).unwrap() {
            continue;
        }
        setup.at_end(setup.conductor(&["stop", &name(number)]));
        must(&setup.conductor(&["run", "-d", "bench", &name(number), "--", "sleep", "infinity"]));
        must(&setup.conductor(&["addnetwork", &name(number), "--pool", POOL]));
    }
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// Resident memory of the parent of a container's first process. See `VmRSS` in proc(5).
fn monitor_kib(setup: &BenchSetup) -> u64 {
    let field = |pid: u64, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let init = setup.record(".containers/held")["init"]["pid"].as_u64().unwrap();
    field(field(init, "PPid:"), "VmRSS:")
}
