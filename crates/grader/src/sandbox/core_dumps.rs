//! Switches core dumps off, since they may lead out of the box: where `core_pattern` begins with `|`, the kernel hands each dump to a program that
//! it runs on the machine, as root and in no namespace of the box.
//!
//! `core_pattern` belongs to the machine. What a process can say about its own dumps is their size limit: 0 means no file, yet the
//! program is run all the same; 1 is the kernel's word for "not even that". So the limit is 1, and the
//! [guard](super::guard) keeps it there.
//! Look: `grep core /proc/PID/limits`. Manual: core(5), "Piping core dumps to a program"; getrlimit(2).

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::{OrCannot, Result};

/// Sets the limit for this process and all that it starts. A limit of 0 stays where root may not raise it.
///
/// # Errors
/// The kernel's reason.
pub fn switch_off() -> Result<()> {
    match setrlimit(Resource::RLIMIT_CORE, 1, 1) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(why) => Err(why).or_cannot("switch off", "core dumps"),
    }
}

/// Why a crash in the box would still start a program of this machine, if it would.
pub fn leak() -> Option<String> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let most = getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, most)| most);
    let may_raise = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    leak_with(pattern.trim(), most > 0 || may_raise)
}

fn leak_with(pattern: &str, can_be_1: bool) -> Option<String> {
    // A `|` is followed by a program, an `@` by the socket of one (Linux 6.16).
    (pattern.starts_with(['|', '@']) && !can_be_1).then(|| {
        format!(
            "not kept in the box: a crash there starts this machine's program for core dumps (core_pattern is {pattern}). The \
             limit of core dumps is 0 here and root lacks CAP_SYS_RESOURCE, so it cannot be 1; start grade where \
             `ulimit -Hc` is not 0"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_takes_dumps_and_a_limit_that_stays_0_is_a_leak() {
        assert_eq!(leak_with("core", false), None);
        assert_eq!(leak_with("/var/crash/core.%p", false), None);
        assert_eq!(leak_with("|/bin/handler %P", true), None);
        assert!(leak_with("|/bin/handler %P", false).is_some_and(|why| why.contains("|/bin/handler %P")));
        assert!(leak_with("@/run/handler", false).is_some());
    }
}
