//! Limits in a cgroup's directory: which file takes which, and whether the kernel holds what was written.
//!
//! `cpu` lets all processes together run so many microseconds in each period, then they wait for the next. `memory`
//! counts every page; a process that asks for one more than there may be has some taken back, and when that does not
//! help, the kernel kills (OOM). `pids` refuses a fork. The files have other names in the two versions of cgroups, and
//! each number is read back, as cgroups-rs understands it: a write can succeed and limit nothing.
//!
//! Look: `cat /sys/fs/cgroup/NAME/{cpu.max,memory.max,memory.events}`; in v1 `memory.oom_control`. Manual: cgroups(7); the
//! kernel's documents "Control Group v2", "CFS Bandwidth Control", "Memory Resource Controller".

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::pid::PidController;
use nix::errno::Errno;

use super::Version;
use crate::error::{Cause, Error, OrCannot, Result};
use crate::step;
use crate::syscall::write_existing;

/// What a cgroup's processes may use together; what is `None` is not limited by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time.
    pub cpu: Option<Quota>,
    /// Memory in bytes; the kernel counts whole pages.
    pub memory_bytes: Option<u64>,
    /// How many processes and threads there may be at a time; one more fork fails with `EAGAIN`.
    pub processes: Option<u32>,
}

/// CPU time in each period, both in microseconds. More quota than period is more than one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Time on any CPU that all processes may use together in a period; the kernel takes no less than 1000.
    pub quota_us: u32,
    /// Length of a period, 1000 to 1000000.
    pub period_us: u32,
}

/// What limits one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Whether there is a limit that takes it.
    pub fn is_limited_by(self, limits: &Limits) -> bool {
        match self {
            Self::Cpu => limits.cpu.is_some(),
            Self::Memory => limits.memory_bytes.is_some(),
            Self::Pids => limits.processes.is_some(),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// Writes the limit of a controller into a cgroup's directory, and reads it back; nothing to do if there is none.
///
/// `ENOENT` when the controller does not count in that directory; in words when the kernel holds another limit.
pub(super) fn set(directory: &Path, version: Version, controller: Controller, limits: &Limits) -> Result<()> {
    match controller {
        Controller::Cpu => limits.cpu.map_or(Ok(()), |quota| cpu(directory, version, quota)),
        Controller::Memory => limits.memory_bytes.map_or(Ok(()), |bytes| memory(directory, version, bytes)),
        Controller::Pids => limits.processes.map_or(Ok(()), |most| processes(directory, version, most)),
    }
}

fn cpu(directory: &Path, version: Version, Quota { quota_us: quota, period_us: period }: Quota) -> Result<()> {
    let shown = directory.display();
    match version {
        Version::V2 => {
            step!("cgroup.limit", call: "write(\"{shown}/cpu.max\", \"{quota} {period}\")";
                why: "all inside together get {quota} µs of CPU time in each {period} µs, then wait for the next period";
                shell: "echo {quota} {period} > {shown}/cpu.max");
            write(&directory.join("cpu.max"), &format!("{quota} {period}"))?;
        }
        Version::V1 => {
            step!("cgroup.limit",
                call: "write(\"{shown}/cpu.cfs_period_us\", \"{period}\"); write(\"{shown}/cpu.cfs_quota_us\", \"{quota}\")";
                why: "all inside together get {quota} µs of CPU time in each {period} µs, then wait for the next period";
                shell: "echo {period} > {shown}/cpu.cfs_period_us; echo {quota} > {shown}/cpu.cfs_quota_us");
            // The period first: a new cgroup has no quota, so any period goes with it.
            write(&directory.join("cpu.cfs_period_us"), &period.to_string())?;
            write(&directory.join("cpu.cfs_quota_us"), &quota.to_string())?;
        }
    }
    let cpu = CpuController::new(directory.to_owned(), version == Version::V2);
    let held = cpu.cfs_quota().and_then(|quota| Ok((quota, cpu.cfs_period()?)));
    let (held_quota, held_period) = held.or_cannot("read back the CPU limit of", shown)?;
    compare("the quota of CPU time", directory, i64::from(quota), held_quota)?;
    compare("the period of CPU time", directory, u64::from(period), held_period)
}

fn memory(directory: &Path, version: Version, bytes: u64) -> Result<()> {
    // The kernel counts whole pages.
    let pages = bytes - bytes % rustix::param::page_size() as u64;
    let (most, with_swap) = match version {
        Version::V2 => (("memory.max", pages), ("memory.swap.max", 0)),
        Version::V1 => (("memory.limit_in_bytes", pages), ("memory.memsw.limit_in_bytes", pages)),
    };
    step!("cgroup.limit", call: "write(\"{}/{}\", \"{}\")", directory.display(), most.0, most.1;
        why: "when it is used up all inside are killed (v1: one) and the host has memory left; none of it goes to swap";
        shell: "echo {} > {}/{}", most.1, directory.display(), most.0);
    write_memory(&directory.join(most.0), most.1)?;
    // A kernel that does not count swap has no such file.
    let swap = directory.join(with_swap.0);
    if swap.exists() {
        write_memory(&swap, with_swap.1)?;
    }
    if version == Version::V2 {
        // Half a container is of no use: all its processes go together.
        write_memory(&directory.join("memory.oom.group"), 1)?;
    }
    Ok(())
}

fn processes(directory: &Path, version: Version, most: u32) -> Result<()> {
    let shown = directory.display();
    step!("cgroup.limit", call: "write(\"{shown}/pids.max\", \"{most}\")";
        why: "a fork bomb inside ends at {most} processes, and the host goes on";
        shell: "echo {most} > {shown}/pids.max");
    write(&directory.join("pids.max"), &most.to_string())?;
    let held = PidController::new(directory.to_owned(), version == Version::V2).get_pid_max();
    let held = held.or_cannot("read back the limit of processes of", shown)?;
    let held = match held {
        MaxValue::Max => i64::MAX,
        MaxValue::Value(held) => held,
    };
    compare("processes", directory, i64::from(most), held)
}

/// Not read back through cgroups-rs, which reads some twenty files for the memory controller and takes one that is missing
/// for a zero.
fn write_memory(file: &Path, value: u64) -> Result<()> {
    write(file, &value.to_string())?;
    let held = fs::read_to_string(file).or_cannot("read back", file.display())?;
    compare("memory", file, value.to_string().as_str(), held.trim())
}

/// Not through cgroups-rs, which opens for writing with O_CREAT: a missing controller would be `EACCES`, like a missing right.
fn write(file: &Path, value: &str) -> Result<()> {
    write_existing(file, value).or_cannot(format_args!("write {value} to"), file.display())
}

fn compare<T: PartialEq + fmt::Display>(what: &str, place: &Path, wanted: T, held: T) -> Result<()> {
    if held == wanted {
        return Ok(());
    }
    let reason = format!("{wanted} was written, the kernel holds {held}");
    Err(Error::new(format_args!("limit {what} in"), place.display(), reason))
}

impl From<cgroups_rs::error::Error> for Cause {
    fn from(error: cgroups_rs::error::Error) -> Self {
        let kernel = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match kernel.and_then(io::Error::raw_os_error) {
            Some(number) => Self::Kernel(Errno::from_raw(number)),
            None => Self::Words(error.to_string()),
        }
    }
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
            cpu: Some(Quota { quota_us: 50_000, period_us: 100_000 }),
            memory_bytes: Some((64 << 20) + 1),
            processes: Some(20),
        };
        let in_v2 = [
            ("cpu.max", "50000 100000"),
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "20"),
        ];
        let in_v1 = [
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
            ("pids.max", "20"),
        ];
        for (version, expected) in [(Version::V2, in_v2), (Version::V1, in_v1)] {
            let files: Vec<&str> = expected.iter().map(|(file, _)| *file).collect();
            let directory = directory(&files);
            for controller in Controller::ALL {
                set(directory.path(), version, controller, &limits).unwrap();
            }
            for (file, text) in expected {
                assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), text, "{file}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made_and_a_limit_that_does_not_hold_is_an_error() {
        let directory = directory(&[]);
        let limits = Limits { processes: Some(20), ..Limits::default() };
        let limit = || set(directory.path(), Version::V2, Controller::Pids, &limits).unwrap_err();
        assert_eq!(limit().errno(), Some(Errno::ENOENT));
        assert!(!directory.path().join("pids.max").exists());
        // A file of the kernel's that takes any number and holds it in its own way.
        std::os::unix::fs::symlink("/proc/self/coredump_filter", directory.path().join("pids.max")).unwrap();
        let told = crate::error::line(&limit());
        assert!(told.ends_with("20 was written, the kernel holds 14"), "{told}");
    }
}
