//! Freezes and thaws all processes of a cgroup at once.
//!
//! Look: `cat /sys/fs/cgroup/NAME/{cgroup.freeze,cgroup.events}`. Source: the kernel's document "Control Group v2",
//! `cgroup.freeze`.

use nix::errno::Errno;

use super::Cgroup;
use super::kill::{TIMEOUT, wait_for_event};
use crate::error::{Error, OrCannot, Result};
use crate::step;
use crate::syscall::write_existing;

const FILE: &str = "cgroup.freeze";

impl Cgroup {
    /// Freezes all processes and waits until they are frozen, or thaws them.
    ///
    /// # Errors
    /// In words without cgroup v2; `ETIMEDOUT` when a process hangs in the kernel and cannot be frozen: then all are
    /// thawed.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let Some(directory) = self.in_v2() else {
            return Err(Error::new("pause", "a cgroup", "this requires cgroup v2, which is not mounted"));
        };
        let file = directory.path.join(FILE);
        let value = if frozen { "1" } else { "0" };
        step!("cgroup.freeze", call: "write(\"{}\", \"{value}\")", file.display();
            why: "all processes freeze at once: none notices it, and none runs while others are frozen";
            shell: "echo {value} > {}", file.display());
        write_existing(&file, value).or_cannot("write", file.display())?;
        if !frozen || wait_for_event(&directory.path, "frozen 1", TIMEOUT)? {
            return Ok(());
        }
        write_existing(&file, "0").or_cannot("write", file.display())?;
        Err(Error::new("pause", file.display(), Errno::ETIMEDOUT).hint("a process in it hangs in the kernel"))
    }

    /// Whether its processes are frozen, or are about to be.
    pub fn is_frozen(&self) -> bool {
        let value = self.in_v2().and_then(|directory| directory.read(FILE));
        value.is_some_and(|value| value.trim_end() == "1")
    }
}
