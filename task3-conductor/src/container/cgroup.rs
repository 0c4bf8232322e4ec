//! A container's cgroup: its processes and their resource limits.
//!
//! On a v2 host it is one directory. If the controllers are attached to v1 hierarchies, the v2 hierarchy still knows
//! the members and can kill them all at once, but the number of processes must be limited otherwise. Since Linux 6.14
//! each PID namespace has its own `pid_max`: one write. Before that it takes a second directory, in the v1 `pids`
//! hierarchy, which cannot be a target of clone3: moving a process there makes the kernel wait for all CPUs, 10 ms and
//! more.
//!
//! Look: `cat /sys/fs/cgroup/conductor-*/{cgroup.procs,pids.max}`. Manual: cgroups(7), "Control Group v2".

use std::fs;

use nsutil::cgroup::{Cgroup, Controller};
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::step;

use crate::output::failure::remark;
use crate::spec::name::ContainerName;
use crate::spec::resources::ResourceLimits;

/// What enforces the limit of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLimit {
    /// Its cgroup, or nothing without a limit.
    Cgroup,
    /// The `pid_max` of its PID namespace.
    PidNamespace,
}

/// Creates the cgroup `name` with these limits.
///
/// # Errors
/// `EROFS`, `EACCES` where cgroups may not be created; in words when a needed controller is not available.
pub fn create(name: &str, limits: &ResourceLimits) -> Result<(Cgroup, ProcessLimit)> {
    let wanted = limits.wanted();
    let asked: Vec<Controller> =
        Controller::ALL.into_iter().filter(|controller| controller.is_limited_by(&wanted)).collect();
    // In a v1 hierarchy only if requested: no process can be created there.
    let cgroup = Cgroup::at_root(name, &[asked.as_slice(), needed()].concat())?;
    cgroup.make()?;
    let limit = |controller| cgroup.limit(controller, &limits.in_force());
    for controller in asked.into_iter().filter(|controller| *controller != Controller::Pids) {
        limit(controller).map_err(|error| explain(error, controller))?;
    }
    if limits.max_processes().is_none() {
        return Ok((cgroup, ProcessLimit::Cgroup));
    }
    if wanted.processes.is_none() && !cgroup.supports(Controller::Pids) && namespaces_limit_processes() {
        return Ok((cgroup, ProcessLimit::PidNamespace));
    }
    match limit(Controller::Pids) {
        Ok(()) => (),
        Err(_) if namespaces_limit_processes() => return Ok((cgroup, ProcessLimit::PidNamespace)),
        Err(error) if wanted.processes.is_some() => return Err(explain(error, Controller::Pids)),
        // The default limit was not requested by the user: only warn.
        Err(error) => remark(format_args!("cannot set the default limit of processes: {}", line(&error))),
    }
    Ok((cgroup, ProcessLimit::Cgroup))
}

/// The cgroup `name`, which may or may not exist.
///
/// # Errors
/// In words when this host has no cgroups.
pub fn of(name: &str) -> Result<Cgroup> {
    Cgroup::at_root(name, needed())
}

/// Refuses a paused container: a process created in its cgroup would not run until it is resumed.
///
/// # Errors
/// In words when the container is paused.
pub fn refuse_frozen(cgroup: &Cgroup, name: &ContainerName) -> Result<()> {
    if !cgroup.is_frozen() {
        return Ok(());
    }
    let paused = Error::new("enter", format_args!("container {name}"), "it is paused");
    Err(paused.hint(format_args!("`conductor unpause {name}` first")))
}

/// The controllers that every container's cgroup needs.
fn needed() -> &'static [Controller] {
    if namespaces_limit_processes() { &[] } else { &[Controller::Pids] }
}

fn explain(error: Error, controller: Controller) -> Error {
    let option = match controller {
        Controller::Cpu => "--cpus",
        Controller::Memory => "--memory",
        Controller::Pids => "--pids-limit",
    };
    error.hint(format_args!(
        "see /proc/cgroups, and the kernel parameter cgroup_disable; to run without this limit leave out {option}"
    ))
}

/// Limits the number of processes by `pid_max` of the caller's PID namespace; requires /proc. Slightly fewer fit after
/// the numbers have wrapped around, since the kernel then skips the first 300.
///
/// # Errors
/// `EINVAL` below 301.
pub fn limit_processes_of_namespace(limits: &ResourceLimits) -> Result<()> {
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    // Before Linux 6.14 the file belongs to the whole host.
    let Some(most) = limits.max_processes().filter(|_| namespaces_limit_processes()) else { return Ok(()) };
    let most = most + 1;
    step!("pid_max", call: "write(\"{PID_MAX}\", \"{most}\")";
        why: "a fork bomb inside stops when this PID namespace has no more PIDs, and the host is not affected";
        shell: "sysctl -w kernel.pid_max={most}");
    fs::write(PID_MAX, most.to_string()).or_cannot("write", PID_MAX)
}

/// Whether each PID namespace has a `pid_max` of its own: Linux 6.14 and later.
fn namespaces_limit_processes() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}
