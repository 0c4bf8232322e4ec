//! Limits in a cgroup's directory: which file takes which, and whether the kernel holds what was written.
//!
//! Three controllers are used. `cpu` lets all processes together run so many microseconds in each period, then they wait
//! for the next. `memory` counts every page; who asks for one more than there may be has some taken back, and when that
//! does not help, the kernel kills (OOM). `pids` refuses a fork. The files have other names in the two versions of
//! cgroups, and each number is read back: writing is one thing, the kernel holding it another.
//!
//! Look: `cat /sys/fs/cgroup/conductor-*/{cpu.max,memory.max,memory.events}`; in v1 `memory.oom_control`. Manual:
//! cgroups(7); the kernel's documents "Control Group v2", "CFS Bandwidth Control", "Memory Resource Controller".

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::step;
use rustix::fs::{Mode, OFlags};

use crate::limits::{Cpus, Limits, Memory, PERIOD_US};

/// Version of a cgroup tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree.
    V2,
}

/// What limits one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All that are used here.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// The option that asks for what takes it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Cpu => "--cpus",
            Self::Memory => "--memory",
            Self::Pids => "--pids-limit",
        }
    }

    /// Whether something was asked for that takes it.
    pub fn is_wanted(self, limits: &Limits) -> bool {
        match self {
            Self::Cpu => limits.cpus.is_some(),
            Self::Memory => limits.memory.is_some(),
            Self::Pids => limits.processes.is_some() && limits.most_processes().is_some(),
        }
    }

    /// Writes the limit into the cgroup's directory, and reads it back.
    ///
    /// # Errors
    /// `ENOENT` when the controller does not count in that directory; in words when the kernel holds another limit.
    pub fn limit(self, directory: &Path, version: Version, limits: &Limits) -> Result<()> {
        match self {
            Self::Cpu => limits.cpus.map_or(Ok(()), |cpus| limit_cpus(directory, version, cpus)),
            Self::Memory => limits.memory.map_or(Ok(()), |memory| limit_memory(directory, version, memory)),
            Self::Pids => limits.most_processes().map_or(Ok(()), |most| limit_processes(directory, most)),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

fn limit_cpus(directory: &Path, version: Version, cpus: Cpus) -> Result<()> {
    let quota = cpus.quota_us;
    match version {
        Version::V2 => {
            step!("cgroup.limit", call: "write(\"{}/cpu.max\", \"{quota} {PERIOD_US}\")", directory.display();
                why: "all inside together get {quota} µs of CPU time in each {PERIOD_US} µs, then wait for the next period";
                shell: "echo {quota} {PERIOD_US} > {}/cpu.max", directory.display());
            write_and_compare(&directory.join("cpu.max"), &format!("{quota} {PERIOD_US}"))
        }
        Version::V1 => {
            step!("cgroup.limit", call: "write(\"{}/cpu.cfs_quota_us\", \"{quota}\")", directory.display();
                why: "all inside together get {quota} µs of CPU time in each {PERIOD_US} µs, then wait for the next period";
                shell: "echo {quota} > {}/cpu.cfs_quota_us", directory.display());
            write_and_compare(&directory.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
            write_and_compare(&directory.join("cpu.cfs_quota_us"), &quota.to_string())
        }
    }
}

fn limit_memory(directory: &Path, version: Version, Memory { bytes }: Memory) -> Result<()> {
    // The kernel counts whole pages.
    let pages = bytes - bytes % rustix::param::page_size() as u64;
    let (most, with_swap) = match version {
        Version::V2 => (("memory.max", pages), ("memory.swap.max", 0)),
        Version::V1 => (("memory.limit_in_bytes", pages), ("memory.memsw.limit_in_bytes", pages)),
    };
    step!("cgroup.limit", call: "write(\"{}/{}\", \"{}\")", directory.display(), most.0, most.1;
        why: "when it is used up all inside are killed (v1: one) and the host has memory left; none of it goes to swap";
        shell: "echo {} > {}/{}", most.1, directory.display(), most.0);
    write_and_compare(&directory.join(most.0), &most.1.to_string())?;
    // A kernel that does not count swap has no such file.
    let swap = directory.join(with_swap.0);
    if swap.exists() {
        write_and_compare(&swap, &with_swap.1.to_string())?;
    }
    if version == Version::V2 {
        // Half a container is of no use: all its processes go together.
        write_and_compare(&directory.join("memory.oom.group"), "1")?;
    }
    Ok(())
}

fn limit_processes(directory: &Path, most: u32) -> Result<()> {
    let file = directory.join("pids.max");
    step!("cgroup.limit", call: "write(\"{}\", \"{most}\")", file.display();
        why: "a fork bomb inside ends at {most} processes, and the host goes on";
        shell: "echo {most} > {}", file.display());
    write_and_compare(&file, &most.to_string())
}

fn write_and_compare(file: &Path, value: &str) -> Result<()> {
    write_existing(file, value).or_cannot(format_args!("write {value} to"), file.display())?;
    let held = fs::read_to_string(file).or_cannot("read back", file.display())?;
    if held.trim() == value {
        return Ok(());
    }
    let reason = format!("{value} was written, the kernel holds {}", held.trim());
    Err(Error::new("set the limit in", file.display(), reason))
}

/// How many processes the kernel has killed because the cgroup's memory was used up; none when nobody counts.
pub fn out_of_memory_kills(directory: &Path, version: Version) -> Option<u64> {
    let (file, key) = match version {
        Version::V2 => ("memory.events", "oom_kill "),
        Version::V1 => ("memory.oom_control", "oom_kill "),
    };
    let text = fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// Bytes of memory that the cgroup uses now; none when nobody counts.
pub fn memory_now(directory: &Path, version: Version) -> Option<u64> {
    let file = match version {
        Version::V2 => "memory.current",
        Version::V1 => "memory.usage_in_bytes",
    };
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// CPU time that the processes of a v2 cgroup have used, in microseconds; counted also where the controller is not there.
pub fn cpu_time_us(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
}

/// Writes to a file of the kernel's, which is never made here.
///
/// # Errors
/// `ENOENT` when it is not there; `EINVAL` for a value that the kernel does not take.
pub fn write_existing(path: &Path, text: &str) -> nix::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let mut file = File::from(file.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?);
    file.write_all(text.as_bytes()).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain files hold what is written: what is seen here is which file gets which text.
    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| fs::write(directory.path().join(file), "").unwrap());
        directory
    }

    #[test]
    fn each_version_gets_its_own_files() {
        let limits = Limits {
            cpus: Some("0.5".parse().unwrap()),
            memory: Some("64m".parse().unwrap()),
            processes: Some("20".parse().unwrap()),
        };
        for (version, expected) in [
            (
                Version::V2,
                &[
                    ("cpu.max", "50000 100000"),
                    ("memory.max", "67108864"),
                    ("memory.swap.max", "0"),
                    ("memory.oom.group", "1"),
                    ("pids.max", "20"),
                ][..],
            ),
            (
                Version::V1,
                &[
                    ("cpu.cfs_period_us", "100000"),
                    ("cpu.cfs_quota_us", "50000"),
                    ("memory.limit_in_bytes", "67108864"),
                    ("memory.memsw.limit_in_bytes", "67108864"),
                    ("pids.max", "20"),
                ],
            ),
        ] {
            let files: Vec<&str> = expected.iter().map(|(file, _)| *file).collect();
            let directory = directory(&files);
            for controller in Controller::ALL {
                controller.limit(directory.path(), version, &limits).unwrap();
            }
            for (file, text) in expected {
                assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), *text, "{file}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made_and_a_limit_that_does_not_hold_is_an_error() {
        let directory = directory(&[]);
        let limits = Limits { processes: Some("20".parse().unwrap()), ..Limits::default() };
        let limit = || Controller::Pids.limit(directory.path(), Version::V2, &limits).unwrap_err();
        assert_eq!(limit().errno(), Some(Errno::ENOENT));
        // A file of the kernel's that takes any number and holds it in its own way.
        std::os::unix::fs::symlink("/proc/self/coredump_filter", directory.path().join("pids.max")).unwrap();
        let told = nsutil::error::line(&limit());
        assert!(told.ends_with("20 was written, the kernel holds 00000014"), "{told}");
    }

    #[test]
    fn kills_are_read_from_either_version() {
        let directory = directory(&[]);
        fs::write(directory.path().join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 1\n").unwrap();
        fs::write(directory.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
            .unwrap();
        assert_eq!(out_of_memory_kills(directory.path(), Version::V2), Some(2));
        assert_eq!(out_of_memory_kills(directory.path(), Version::V1), Some(5));
        assert_eq!(out_of_memory_kills(Path::new("/nowhere"), Version::V1), None);
    }
}
