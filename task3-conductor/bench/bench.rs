//! `make bench`: how long the daily commands take, beside peers, in one interleaved run.
//!
//! Each round runs every command once, in turn, so that a slow moment of the machine hits all of them; what counts is
//! the median and its ratio to the peer. Absolute times are this machine's and nobody else's. Peers that are not
//! installed are left out and named. Usage: `bench FOLDER_OF_BINARIES [ROUNDS]`, as root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot run may end in a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let binaries = PathBuf::from(std::env::args().nth(1).expect("usage: bench FOLDER_OF_BINARIES [ROUNDS]"));
    let rounds = std::env::args().nth(2).map_or(40, |rounds| rounds.parse().unwrap());
    let stage = Stage::set(&binaries);
    println!("medians of {rounds} interleaved rounds, in ms\n");
    report("start a command and wait for it", &stage.births(), rounds);
    report("enter a running container", &stage.entries(), rounds);
}

/// One command line to time, and one to tidy up after it, not timed.
struct Subject {
    name: &'static str,
    timed: Vec<String>,
    tidy: Vec<String>,
}

/// A store of its own with one image and one running container.
struct Stage {
    dir: tempfile::TempDir,
    conductor: PathBuf,
    floor: PathBuf,
    layer: String,
    init: u32,
}

impl Stage {
    fn set(binaries: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("conductor-bench").tempdir_in("/var/tmp").unwrap();
        let conductor = binaries.join("conductor");
        let floor = binaries.join("examples/floor");
        let mut stage = Self { dir, conductor, floor, layer: String::new(), init: 0 };
        fs::write(stage.dir.path().join("Conductorfile"), "FROM host\n").unwrap();
        stage.must(&["build", "bench", &stage.path("Conductorfile")]);
        stage.must(&["run", "-d", "bench", "held", "--", "sleep", "infinity"]);
        let record = |path: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(stage.dir.path().join(path)).unwrap()).unwrap()
        };
        let id = record(".images/bench/record.json")["layers"][0].as_str().unwrap().to_owned();
        let layer = stage.path(&format!(".cache/layers/{id}/root"));
        let init = record(".containers/held/record.json")["init"]["pid"].as_u64().unwrap() as u32;
        (stage.layer, stage.init) = (layer, init);
        stage
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn conductor(&self, arguments: &[&str]) -> Vec<String> {
        let root = self.dir.path().display().to_string();
        let mut line = vec![self.conductor.display().to_string(), "-q".to_owned(), "--root".to_owned(), root];
        line.extend(arguments.iter().map(|&word| word.to_owned()));
        line
    }

    fn must(&self, arguments: &[&str]) {
        let line = self.conductor(arguments);
        assert!(run(&line), "failed: {}", line.join(" "));
    }

    fn births(&self) -> Vec<Subject> {
        let root = self.path("floor/rootfs");
        let layer = &self.layer;
        let floor = [self.floor.display().to_string(), layer.clone(), self.path("floor"), "true".to_owned()].to_vec();
        vec![
            Subject { name: "the floor (bare system calls)", timed: floor, tidy: words(&format!("rm -rf {root}")) },
            Subject {
                name: "conductor run",
                timed: self.conductor(&["run", "bench", "timed", "--", "true"]),
                tidy: self.conductor(&["stop", "timed"]),
            },
            Subject {
                name: "unshare (no overlay)",
                timed: words(&format!(
                    "unshare --uts --pid --net --mount --ipc --cgroup --fork --mount-proc --root={layer} /bin/true"
                )),
                tidy: vec![],
            },
            Subject {
                name: "bwrap",
                timed: words(&format!(
                    "bwrap --unshare-all --bind {layer} / --proc /proc --dev /dev --tmpfs /tmp /bin/true"
                )),
                tidy: vec![],
            },
        ]
    }

    fn entries(&self) -> Vec<Subject> {
        vec![
            Subject {
                name: "nsenter",
                timed: words(&format!("nsenter --target {} --uts --pid --net --mount --ipc --cgroup true", self.init)),
                tidy: vec![],
            },
            Subject { name: "conductor exec", timed: self.conductor(&["exec", "held", "--", "true"]), tidy: vec![] },
        ]
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        run(&self.conductor(&["stop", "held"]));
    }
}

/// Times the subjects in turn and prints medians and ratios; the first one is what the others are compared with.
fn report(title: &str, subjects: &[Subject], rounds: usize) {
    let (here, absent): (Vec<_>, Vec<_>) = subjects.iter().partition(|subject| is_installed(&subject.timed[0]));
    let mut times = vec![Vec::new(); here.len()];
    for round in 0..=rounds {
        for (subject, times) in here.iter().zip(&mut times) {
            let begin = Instant::now();
            assert!(run(&subject.timed), "failed: {}", subject.timed.join(" "));
            // The first round only warms up.
            if round > 0 {
                times.push(begin.elapsed());
            }
            if !subject.tidy.is_empty() {
                assert!(run(&subject.tidy), "failed: {}", subject.tidy.join(" "));
            }
        }
    }
    println!("{title:<34} {:>8} {:>8} {:>8}   ratio", "median", "min", "max");
    let base = median(&mut times[0]);
    for (subject, times) in here.iter().zip(&mut times) {
        let middle = median(times);
        let [shown, least, most] = [middle, times[0], times[times.len() - 1]].map(|time| time.as_secs_f64() * 1e3);
        println!(
            "  {:<32} {shown:>8.2} {least:>8.2} {most:>8.2}   {:.2}",
            subject.name,
            middle.as_secs_f64() / base.as_secs_f64()
        );
    }
    for subject in absent {
        println!("  {:<32} not installed here", subject.name);
    }
    println!();
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn run(line: &[String]) -> bool {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.status().is_ok_and(|status| status.success())
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var("PATH").unwrap_or_default();
    program.contains('/') && Path::new(program).exists()
        || folders.split(':').any(|folder| Path::new(folder).join(program).exists())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
