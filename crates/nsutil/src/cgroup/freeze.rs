//! Stops all processes of a cgroup at once, and lets them run again.
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
    /// Stops all its processes and waits until they are stopped, or lets them run again.
    ///
    /// # Errors
    /// In words without a v2 tree; `ETIMEDOUT` when a process hangs in the kernel and does not stop: then all run again.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let Some(directory) = self.in_v2() else {
            return Err(Error::new("pause", "a cgroup", "it takes a tree of version 2, and none is mounted"));
        };
        let file = directory.path.join(FILE);
        let value = if frozen { "1" } else { "0" };
        step!("cgroup.freeze", call: "write(\"{}\", \"{value}\")", file.display();
            why: "all processes at once: none can notice it, or run while others are stopped";
            shell: "echo {value} > {}", file.display());
        write_existing(&file, value).or_cannot("write", file.display())?;
        if !frozen || wait_for_event(&directory.path, "frozen 1", TIMEOUT)? {
            return Ok(());
        }
        write_existing(&file, "0").or_cannot("write", file.display())?;
        Err(Error::new("pause", file.display(), Errno::ETIMEDOUT).hint("a process in it hangs in the kernel"))
    }

    /// Whether its processes are to be stopped.
    pub fn is_frozen(&self) -> bool {
        let value = self.in_v2().and_then(|directory| directory.read(FILE));
        value.is_some_and(|value| value.trim_end() == "1")
    }
}
