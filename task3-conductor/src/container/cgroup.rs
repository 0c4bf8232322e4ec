//! A container's cgroup: which processes are its own, and what they may use together.
//!
//! On a v2 host it is one directory. Where the controllers sit in v1 trees, the v2 tree has none of them and still knows
//! its members and can kill them all at once; the number of processes has to be limited by other means. Since Linux
//! 6.14 each PID namespace has a `pid_max` of its own, one write. Before that it takes a second directory, in the v1 tree
//! of `pids`, and no process can be created there: moving one makes the kernel wait for all processors, 10 ms and more.
//!
//! Look: `cat /sys/fs/cgroup/conductor-*/{cgroup.procs,pids.max}`. Manual: cgroups(7), "Control Group v2".

use std::fs;

use nsutil::cgroup::{Cgroup, Controller};
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::step;

use crate::output::failure::remark;
use crate::spec::name::ContainerName;
use crate::spec::resources::ResourceLimits;

/// What limits the number of a container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLimit {
    /// Its cgroup, or nothing if none was wanted.
    Cgroup,
    /// The `pid_max` of its PID namespace.
    PidNamespace,
}

/// Makes the cgroup `name` with these limits.
///
/// # Errors
/// `EROFS`, `EACCES` where cgroups may not be made; in words when no tree offers a controller that is needed.
pub fn create(name: &str, limits: &ResourceLimits) -> Result<(Cgroup, ProcessLimit)> {
    let wanted = limits.wanted();
    let asked: Vec<Controller> =
        Controller::ALL.into_iter().filter(|controller| controller.is_limited_by(&wanted)).collect();
    // In a v1 tree of its own only if that was asked for: no process can be created there.
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
        // It is the usual limit, which the user has not asked for.
        Err(error) => remark(format_args!("the number of processes has no limit: {}", line(&error))),
    }
    Ok((cgroup, ProcessLimit::Cgroup))
}

/// The cgroup `name`, which may be there or not.
///
/// # Errors
/// In words when this host has no cgroups.
pub fn of(name: &str) -> Result<Cgroup> {
    Cgroup::at_root(name, needed())
}

/// Makes sure that a process that is created in a container's cgroup can begin.
///
/// # Errors
/// In words when it is paused: the caller would wait for the new process for as long.
pub fn refuse_frozen(cgroup: &Cgroup, name: &ContainerName) -> Result<()> {
    if !cgroup.is_frozen() {
        return Ok(());
    }
    let paused = Error::new("enter", format_args!("container {name}"), "it is paused");
    Err(paused.hint(format_args!("`conductor unpause {name}` first")))
}

/// The controllers that every container's cgroup has.
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
        "see /proc/cgroups, and the kernel's parameter cgroup_disable; without that limit it can be run: leave out {option}"
    ))
}

/// Limits the processes of the caller's PID namespace; /proc shows it. At most so many fit at a time, and some fewer once
/// the numbers have come round, since the kernel leaves the first 300 out then.
///
/// # Errors
/// `EINVAL` below 301.
pub fn limit_processes_of_namespace(limits: &ResourceLimits) -> Result<()> {
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    // Before that the file is the whole host's.
    let Some(most) = limits.max_processes().filter(|_| namespaces_limit_processes()) else { return Ok(()) };
    let most = most + 1;
    step!("pid_max", call: "write(\"{PID_MAX}\", \"{most}\")";
        why: "a fork bomb inside ends when this PID namespace has no more numbers, and the host goes on";
        shell: "sysctl -w kernel.pid_max={most}");
    fs::write(PID_MAX, most.to_string()).or_cannot("write", PID_MAX)
}

/// Whether each PID namespace has a `pid_max` of its own: Linux 6.14 and later.
fn namespaces_limit_processes() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}
