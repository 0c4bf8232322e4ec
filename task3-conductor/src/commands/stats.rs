//! `conductor stats [NAME…]`: resource usage of containers.
//!
//! CPU time and processes come from the container's cgroup. Memory does too if a limit makes the kernel count it;
//! otherwise it is the sum of the resident memory of all processes, which counts shared pages repeatedly. Network bytes
//! are those of all interfaces but `lo`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nsutil::cgroup::Cgroup;
use nsutil::error::Result;
use serde::Serialize;

use super::{Format, size};
use crate::container::cgroup;
use crate::output::table::table;
use crate::output::{json, say};
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::record;
use crate::store::record::ContainerRecord;

/// Show the resource usage of containers, once a second until none is running or Ctrl-C is pressed
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor stats
  conductor stats --no-stream web db
  conductor stats --no-stream --format json")]
pub struct Stats {
    /// Containers to show; default: all running containers
    names: Vec<ContainerName>,
    /// Print once and exit
    #[arg(long)]
    no_stream: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// Resource usage of a container.
#[derive(Debug, Serialize)]
struct Usage {
    name: ContainerName,
    /// Share of one core during the last interval; two busy cores are 200.
    cpu_percent: f64,
    memory_bytes: u64,
    memory_limit_bytes: Option<u64>,
    processes: usize,
    processes_limit: Option<u32>,
    network_received_bytes: u64,
    network_sent_bytes: u64,
}

/// CPU time used up to a moment.
#[derive(Debug, Clone, Copy)]
struct Clock {
    used_us: u64,
    at: Instant,
}

/// Time between two samples, over which CPU usage is averaged.
const INTERVAL: Duration = Duration::from_secs(1);
/// As top(1): cursor home, clear the screen below.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Stats {
    /// Prints the table repeatedly.
    ///
    /// # Errors
    /// In words when a named container does not exist.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let clock = |record: ContainerRecord| (record.name.clone(), Clock::of(store, &record));
        let mut clocks: BTreeMap<ContainerName, Clock> = self.running(store, true)?.into_iter().map(clock).collect();
        loop {
            std::thread::sleep(INTERVAL);
            let running = self.running(store, false)?;
            let usages: Vec<Usage> = running.iter().map(|record| Usage::of(store, record, &mut clocks)).collect();
            let text = match self.format {
                Format::Json => json(&usages, "what containers use")?,
                Format::Table => {
                    let rows: Vec<Vec<String>> = usages.iter().map(Usage::cells).collect();
                    table(
                        &[20, 8, 8, 8, 11],
                        &["Name", "CPU %", "Memory", "Limit", "Processes", "Network in/out"],
                        &rows,
                    )
                }
            };
            let clear = if !self.no_stream && io::stdout().is_terminal() { CLEAR } else { "" };
            say(&format!("{clear}{text}"))?;
            if self.no_stream || usages.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// The running containers. An unknown name is an error the first time; later, that container has been removed.
    fn running(&self, store: &Store, first: bool) -> Result<Vec<ContainerRecord>> {
        let records = if self.names.is_empty() {
            // `ps` reports damaged records.
            store.containers()?.into_iter().filter_map(|(_, record)| record.ok()).collect()
        } else {
            let is_there = |name: &ContainerName| store.container_dir(name).join(record::FILE).exists();
            let known = self.names.iter().map(|name| (name, store.container(name)));
            // It may have been removed since the last sample.
            let known = known.filter(|(name, record)| first || record.is_ok() || is_there(name));
            known.map(|(_, record)| record).collect::<Result<Vec<_>>>()?
        };
        let mut running = Vec::new();
        for record in records {
            if record.running()?.is_some() {
                running.push(record);
            }
        }
        Ok(running)
    }
}

impl Clock {
    fn of(store: &Store, record: &ContainerRecord) -> Self {
        let used_us = cgroup::of(&store.tag(&record.name)).ok().and_then(|cgroup| cgroup.cpu_time_us()).unwrap_or(0);
        Self { used_us, at: Instant::now() }
    }
}

impl Usage {
    fn of(store: &Store, record: &ContainerRecord, clocks: &mut BTreeMap<ContainerName, Clock>) -> Self {
        let now = Clock::of(store, record);
        let before = clocks.insert(record.name.clone(), now);
        let cgroup = cgroup::of(&store.tag(&record.name)).ok();
        let counted = cgroup.as_ref().and_then(Cgroup::memory_bytes_now);
        let resident = || cgroup.as_ref().map_or(0, |cgroup| cgroup.members().into_iter().map(resident_bytes).sum());
        let (network_received_bytes, network_sent_bytes) = traffic(record.init.pid);
        Self {
            name: record.name.clone(),
            cpu_percent: before.map_or(0.0, |before| now.percent_since(before)),
            memory_bytes: counted.unwrap_or_else(resident),
            memory_limit_bytes: record.limits.memory.map(|memory| memory.bytes),
            processes: cgroup.as_ref().and_then(Cgroup::threads).unwrap_or(0),
            processes_limit: record.limits.max_processes(),
            network_received_bytes,
            network_sent_bytes,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            format!("{:.1}", self.cpu_percent),
            size(self.memory_bytes),
            self.memory_limit_bytes.map_or("-".to_owned(), size),
            format!("{}/{}", self.processes, self.processes_limit.map_or("-".to_owned(), |most| most.to_string())),
            format!("{}/{}", size(self.network_received_bytes), size(self.network_sent_bytes)),
        ]
    }
}

impl Clock {
    fn percent_since(self, before: Self) -> f64 {
        let elapsed_us = self.at.duration_since(before.at).as_micros().max(1) as f64;
        let used_us = self.used_us.saturating_sub(before.used_us) as f64;
        // The measurement justifies one decimal place.
        (used_us / elapsed_us * 1000.0).round() / 10.0
    }
}

/// Memory of a process that is in RAM; nothing when it has ended. See proc_pid_statm(5).
fn resident_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Bytes received and sent by the interfaces of a process's network but `lo`. See proc_pid_net(5).
fn traffic(pid: i32) -> (u64, u64) {
    added_up(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

fn added_up(text: &str) -> (u64, u64) {
    let lines = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    lines.fold((0, 0), |(received, sent), (_, numbers)| {
        let mut numbers = numbers.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        (received + numbers.next().unwrap_or(0), sent + numbers.nth(7).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_interfaces_but_lo_are_added_up() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs\n\
                    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n\
                    web-inside: 1000       9    0    0    0     0          0         0      50       3    0    0    0     0       0          0\n\
                    b:7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n";
        assert_eq!(added_up(text), (1007, 58));
        assert_eq!(added_up(""), (0, 0));
    }

    #[test]
    fn half_of_one_core_is_fifty_percent() {
        let start = Instant::now();
        let later = Clock { used_us: 700_000, at: start + Duration::from_secs(1) };
        assert_eq!(later.percent_since(Clock { used_us: 200_000, at: start }), 50.0);
        assert_eq!(later.percent_since(Clock { used_us: 900_000, at: start }), 0.0, "another cgroup of that name");
    }
}
