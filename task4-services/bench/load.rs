//! `make bench`, task 4: measures the cost of port forwarding, two containers and the link between them, and checks
//! that each visit is counted.
//!
//! The same two services run twice on one host: in containers, reached through the forwarded port, and without
//! containers. The client is on another machine, sends 64 requests at a time, and alternates between both, so that a
//! slow moment of this machine affects both. Then the counter's container is stopped and recreated during a run:
//! requests may fail while it is gone, and none afterwards. Everything runs in separate network namespaces. Usage:
//! `load FOLDER_OF_BINARIES [REQUESTS]`, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot run may end in a panic"
)]

mod client;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use client::{Outcome, Visits, visit};
use testlab::netns::{HOST, Netns, host_and_internet};

/// Number of concurrent requests.
const CLIENTS: usize = 64;
/// Number of rounds; both deployments are measured in each.
const ROUNDS: usize = 10;
/// Port of the page without containers; its counter has the next port.
const PLAIN: u16 = 8080;
/// The host's port that leads to container c1.
const FORWARDED: u16 = 3000;

fn main() -> ExitCode {
    let binaries = PathBuf::from(std::env::args().nth(1).expect("usage: load FOLDER_OF_BINARIES [REQUESTS]"));
    let requests: usize = std::env::args().nth(2).map_or(100_000, |requests| requests.parse().unwrap());
    let stage = Stage::set(&binaries);
    let well = [compare(&stage, requests), interrupt(&stage, requests)];
    if well == [true, true] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A host with both deployments, and another machine.
struct Stage {
    host: Netns,
    outside: Netns,
    folder: tempfile::TempDir,
    binaries: PathBuf,
    plain: Vec<Child>,
}

impl Stage {
    fn set(binaries: &Path) -> Self {
        let (host, outside) = host_and_internet();
        let folder = tempfile::Builder::new().prefix("services-bench").tempdir_in("/var/tmp").unwrap();
        let mut stage =
            Self { host, outside, folder, binaries: fs::canonicalize(binaries).unwrap(), plain: Vec::new() };
        for script in ["conductor.sh", "config.sh"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../task3-conductor").join(script);
            fs::copy(from, stage.folder.path().join(script)).unwrap();
        }
        assert!(stage.orchestrate(&["up", "--offline"]), "the deployment does not come up");
        let counter = (PLAIN + 1).to_string();
        stage.start("counter-service", &[&counter, "4"]);
        stage.start("external-service", &[&format!("http://127.0.0.1:{counter}/")]);
        stage
    }

    fn orchestrate(&self, words: &[&str]) -> bool {
        let mut command = self.host.command(self.binaries.join("service-orchestrator").to_str().unwrap());
        command.arg("--conductor").arg(self.folder.path().join("conductor.sh"));
        command.arg("--files").arg(env!("CARGO_MANIFEST_DIR")).args(words);
        command.env("CONDUCTOR_BINARY", self.binaries.join("conductor"));
        command.stdout(Stdio::null()).stderr(self.file("orchestrator.log")).status().unwrap().success()
    }

    fn conductor(&self, words: &[&str]) -> bool {
        let mut command = self.host.command(self.folder.path().join("conductor.sh").to_str().unwrap());
        command.args(words).env("CONDUCTOR_BINARY", self.binaries.join("conductor"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Starts one of the services on the host itself: the same program, also with its log in a file.
    fn start(&mut self, service: &str, words: &[&str]) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(service).join(service);
        let log = format!("{service}.log");
        let mut command = self.host.command(program.to_str().unwrap());
        command.args(words).stdout(self.file(&log));
        self.plain.push(command.spawn().unwrap());
        let begin = Instant::now();
        while !fs::read_to_string(self.folder.path().join(&log)).unwrap().contains(": listening on port") {
            assert!(begin.elapsed() < Duration::from_secs(30), "{service} does not start");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn file(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.folder.path().join(name)).unwrap()
    }

    /// The counter in the container, queried directly.
    fn counter(&self) -> u64 {
        let mut curl = Command::new("nsenter");
        curl.args(["--net", "--target", &self.host.pid().to_string(), "curl", "--silent", "--max-time", "10"]);
        let output = curl.arg("http://192.168.2.2:8080/get_counter").output().unwrap();
        String::from_utf8(output.stdout).unwrap().parse().expect("the counter answers")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for service in &mut self.plain {
            let _ = service.kill();
            let _ = service.wait();
        }
        self.orchestrate(&["down", "--rmi"]);
    }
}

/// Measures both in turn; returns whether every visit was counted once.
fn compare(stage: &Stage, requests: usize) -> bool {
    let (mut plain, mut contained) = (Measured::default(), Measured::default());
    let before = stage.counter();
    for round in 0..ROUNDS {
        let mut both = [(PLAIN, &mut plain), (FORWARDED, &mut contained)];
        // Alternate the order: the second one may find warmer caches.
        both.rotate_left(round % 2);
        for (port, measured) in both {
            let begin = Instant::now();
            let visits = stage.outside.inside(|| visit((HOST, port), CLIENTS, &Visits::wanted(requests / ROUNDS)));
            measured.add(visits, begin.elapsed());
        }
    }
    let after = stage.counter();
    println!("{} requests each, {CLIENTS} at a time, in {ROUNDS} turns", requests / ROUNDS * ROUNDS);
    println!("{:<36} {:>11} {:>9} {:>9}   ratio", "", "requests/s", "p50 ms", "p99 ms");
    plain.report("the two services without containers", &plain);
    contained.report("in c1 and c2, through port 3000", &plain);
    let exact = contained.exact() && plain.exact() && after - before == contained.numbers.len() as u64;
    println!("  counted: {} visits, {} numbers, {}\n", contained.numbers.len(), after - before, word(exact));
    exact
}

/// Stops and recreates the counter's container under load; returns whether requests failed only meanwhile.
fn interrupt(stage: &Stage, requests: usize) -> bool {
    let visits = Visits::wanted(requests);
    let (outcomes, gone, back) = thread::scope(|scope| {
        let load = scope.spawn(|| stage.outside.inside(|| visit((HOST, FORWARDED), CLIENTS, &visits)));
        while visits.so_far() < requests / 3 {
            thread::sleep(Duration::from_millis(1));
        }
        let gone = Instant::now();
        assert!(stage.conductor(&["stop", "c2"]));
        assert!(stage.orchestrate(&["up"]));
        let back = Instant::now();
        (load.join().unwrap(), gone, back)
    });
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.number.is_none()).collect();
    let early = failed.iter().filter(|outcome| outcome.end < gone).count();
    let late = failed.iter().filter(|outcome| outcome.begin > back).count();
    // The new counter began at 1 again: each number that it returned must have reached a visitor.
    let told: BTreeSet<u64> = outcomes.iter().filter(|it| it.end > gone).filter_map(|it| it.number).collect();
    let given = stage.counter() - 1;
    let missing = (1..=given).filter(|number| !told.contains(number)).count();
    println!("{requests} visits, while c2 is stopped and made anew, which takes {} ms", (back - gone).as_millis());
    println!("  failed: {early} before, {} meanwhile, {late} after it was back", failed.len() - early - late);
    println!("  counted: {given} visits by the new counter, {missing} of them told to nobody, {}", word(missing == 0));
    early == 0 && late == 0 && missing == 0
}

fn word(exact: bool) -> &'static str {
    if exact { "exact" } else { "WRONG" }
}

/// All rounds of one deployment.
#[derive(Default)]
struct Measured {
    /// Requests per second, by round.
    rates: Vec<f64>,
    times: Vec<Duration>,
    numbers: Vec<u64>,
    failed: usize,
}

impl Measured {
    fn add(&mut self, visits: Vec<Outcome>, took: Duration) {
        self.rates.push(visits.len() as f64 / took.as_secs_f64());
        self.times.extend(visits.iter().map(|visit| visit.end - visit.begin));
        self.failed += visits.iter().filter(|visit| visit.number.is_none()).count();
        self.numbers.extend(visits.iter().filter_map(|visit| visit.number));
    }

    /// Whether the numbers are consecutive, none missing and none twice.
    fn exact(&self) -> bool {
        let mut numbers = self.numbers.clone();
        numbers.sort_unstable();
        self.failed == 0 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }

    fn rate(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }

    fn report(&self, name: &str, base: &Self) {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        let ratio = self.rate() / base.rate();
        println!("  {name:<34} {:>11.0} {:>9.2} {:>9.2}   {ratio:.2}", self.rate(), at(0.5), at(0.99));
    }
}
