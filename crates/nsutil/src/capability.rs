//! Capabilities: root's power in pieces.
//!
//! The kernel asks a process not "are you root?" but, for each privileged deed, for one of some forty capabilities. A
//! process that is root in a container keeps those it needs to act as root *inside* (change owners, bind low ports,
//! become another user) and none with which it could reach outside (mount, load modules, trace, set the clock).
//!
//! Each process has five sets. *Effective* is what counts now; *permitted* what may be made effective; *bounding* is
//! the most that any later exec can give, so what leaves it never comes back. *Inheritable* and *ambient* hand
//! capabilities through exec to programs that did not ask for them: both stay empty (CVE-2022-24769).
//!
//! Look: `grep Cap /proc/self/status`, `capsh --decode=MASK`. Manual: capabilities(7), prctl(2).

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{OrCannot, Result};
use crate::{step, sys};

/// One capability, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// A set of capabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u64);

/// The kernel's names, each at its number. See capabilities(7).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The eleven that root in a container has, as Podman gives them: Docker's without `MKNOD`, `NET_RAW`, `AUDIT_WRITE`.
pub const CONTAINER: Set = Set(mask(&[0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31]));

const fn mask(numbers: &[u8]) -> u64 {
    let (mut mask, mut index) = (0, 0);
    while index < numbers.len() {
        mask |= 1 << numbers[index];
        index += 1;
    }
    mask
}

impl Set {
    /// All that this table knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set as /proc/PID/status shows it: a number whose bits are the members.
    pub const fn of_mask(mask: u64) -> Self {
        Self(mask)
    }

    /// How many there are in it.
    pub fn count(self) -> usize {
        self.iter().count()
    }

    /// Whether `capability` is in it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// With `capability` in it.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | (1 << capability.0))
    }

    /// Without `capability`.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// Its members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for Set {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Self {
        members.into_iter().fold(Self::default(), Self::with)
    }
}

/// Takes from the caller for ever every capability that is not in `keep`, and empties what exec would hand on.
///
/// What the caller does not have it does not get: a host can lack some.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn keep_only(keep: Set) -> Result<()> {
    bound_by(keep)?;
    hold_only(keep)
}

/// The first half of [`keep_only`]: no exec will give back what is not in `keep`. It takes `CAP_SETPCAP`, which a
/// process loses when it becomes another user than root; so this comes before, and [`hold_only`] after.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn bound_by(keep: Set) -> Result<()> {
    step!("capset",
        call: "prctl(PR_CAPBSET_DROP, each but {keep}); capset(effective = permitted = {keep}; inheritable = 0); prctl(PR_CAP_AMBIENT_CLEAR_ALL)";
        why: "root here may act as root inside and reach nothing outside; what has left the bounding set never comes back";
        shell: "capsh --drop=ALL_BUT_THESE -- -c COMMAND   # {keep}");
    // Also those that a newer kernel has and this table has not: the kernel says where they end.
    for number in (0..64).filter(|number| keep.0 & (1 << number) == 0) {
        match sys::drop_from_bounding_set(number) {
            Ok(()) => (),
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).or_cannot("give up", Capability(number)),
        }
    }
    Ok(())
}

/// The second half of [`keep_only`]: what the caller has now and what exec would hand on.
///
/// # Errors
/// None that giving up could cause.
pub fn hold_only(keep: Set) -> Result<()> {
    rustix::thread::clear_ambient_capability_set().or_cannot("empty", "the ambient capabilities")?;
    let now = rustix::thread::capabilities(None).or_cannot("read", "the caller's capabilities")?;
    let kept = now.permitted & CapabilitySet::from_bits_retain(keep.0);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).or_cannot("give up", "capabilities")
}

/// As the manual writes it: `CAP_CHOWN`.
impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => write!(out, "CAP_{name}"),
            None => write!(out, "capability {}", self.0),
        }
    }
}

/// Names with commas between, without `CAP_`.
impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, capability) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{}", NAMES[usize::from(capability.0)])?;
        }
        Ok(())
    }
}

/// From a name with or without `CAP_`, in any case.
impl FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|known| *known == name);
        number.map(|number| Self(number as u8)).ok_or_else(|| {
            format!("{text:?} is no capability: use a name of capabilities(7), for example CAP_NET_RAW or net_raw")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_keeps_eleven_and_none_that_reaches_outside() {
        let kept = "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,SETFCAP";
        assert_eq!(CONTAINER.to_string(), kept);
        assert_eq!(format!("{:x}", CONTAINER.0), "800405fb", "as /proc/PID/status shows it under Podman");
    }

    #[test]
    fn names_are_taken_as_people_write_them() {
        for name in ["CAP_NET_RAW", "net_raw", "Cap_Net_Raw"] {
            assert_eq!(name.parse::<Capability>().unwrap().to_string(), "CAP_NET_RAW");
        }
        assert_eq!(format!("{:x}", Set::ALL.0), "1ffffffffff", "as a process of the host has them");
        assert_eq!(CONTAINER.iter().collect::<Set>(), CONTAINER);
        assert!("ALL".parse::<Capability>().unwrap_err().contains("for example"));
        let raw = "NET_RAW".parse().unwrap();
        assert!(CONTAINER.with(raw).contains(raw) && !CONTAINER.with(raw).without(raw).contains(raw));
    }
}
