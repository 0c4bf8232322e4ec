//! Sets limits in a cgroup's directory, and checks that the kernel holds what was written.
//!
//! `cpu` lets all processes together run a number of microseconds in each period; then they wait for the next. `memory`
//! counts pages; at the limit the kernel reclaims some, and if that does not help it kills (OOM). `pids` makes fork
//! fail. The files differ between the two versions of cgroups. Each value is read back through cgroups-rs: a write can
//! succeed and limit nothing.
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

/// Resource limits of a cgroup; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time.
    pub cpu: Option<Quota>,
    /// Memory in bytes; the kernel counts whole pages.
    pub memory_bytes: Option<u64>,
    /// Maximum number of processes and threads; beyond it fork fails with `EAGAIN`.
    pub processes: Option<u32>,
}

/// CPU time per period, both in microseconds. A quota larger than the period is more than one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// CPU time that all processes together may use in a period; at least 1000.
    pub quota_us: u32,
    /// Length of a period, 1000 to 1000000.
    pub period_us: u32,
}

/// A cgroup controller.
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
    /// The controllers used here.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Whether `limits` has a limit for this controller.
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

/// Writes the limit of a controller into a cgroup's directory and reads it back; does nothing without a limit.
///
/// `ENOENT` when the controller is not enabled in that directory; in words when the kernel holds another value.
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
                why: "all processes of the cgroup together get {quota} µs of CPU time in each {period} µs";
                shell: "echo {quota} {period} > {shown}/cpu.max");
            write(&directory.join("cpu.max"), &format!("{quota} {period}"))?;
        }
        Version::V1 => {
            step!("cgroup.limit",
                call: "write(\"{shown}/cpu.cfs_period_us\", \"{period}\"); write(\"{shown}/cpu.cfs_quota_us\", \"{quota}\")";
                why: "all processes of the cgroup together get {quota} µs of CPU time in each {period} µs";
                shell: "echo {period} > {shown}/cpu.cfs_period_us; echo {quota} > {shown}/cpu.cfs_quota_us");
            // The period first: without a quota any period is valid.
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
        why: "beyond it the kernel kills all processes of the cgroup (v1: one), so the host keeps its memory; nothing goes to swap";
        shell: "echo {} > {}/{}", most.1, directory.display(), most.0);
    write_memory(&directory.join(most.0), most.1)?;
    // Without swap accounting this file does not exist.
    let swap = directory.join(with_swap.0);
    if swap.exists() {
        write_memory(&swap, with_swap.1)?;
    }
    if version == Version::V2 {
        // Kill all processes of a container together.
        write_memory(&directory.join("memory.oom.group"), 1)?;
    }
    Ok(())
}

fn processes(directory: &Path, version: Version, most: u32) -> Result<()> {
    let shown = directory.display();
    step!("cgroup.limit", call: "write(\"{shown}/pids.max\", \"{most}\")";
        why: "a fork bomb in the cgroup stops at {most} processes and the host is not affected";
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

/// Not read back through cgroups-rs: it reads some twenty files for the memory controller and takes a missing one for
/// zero.
fn write_memory(file: &Path, value: u64) -> Result<()> {
    write(file, &value.to_string())?;
    let held = fs::read_to_string(file).or_cannot("read back", file.display())?;
    compare("memory", file, value.to_string().as_str(), held.trim())
}

/// Not through cgroups-rs: it opens with O_CREAT, so a missing controller would yield `EACCES`, like missing
/// permission.
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

    /// Plain files instead of a cgroup: the test checks which file gets which text.
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
        // A kernel file that accepts any number but holds a different one.
        std::os::unix::fs::symlink("/proc/self/coredump_filter", directory.path().join("pids.max")).unwrap();
        let told = crate::error::line(&limit());
        assert!(told.ends_with("20 was written, the kernel holds 14"), "{told}");
    }
}
