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

use caps::{CapSet, Capability as Cap};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::error::{Cause, OrCannot, Result};
use crate::step;

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capability(Cap);

/// A set of capabilities, as the kernel's mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u64);

/// The eleven that root in a container has, as Podman gives them: Docker's without `MKNOD`, `NET_RAW`, `AUDIT_WRITE`.
pub const CONTAINER: Set = Set(mask(&[
    Cap::CAP_CHOWN,
    Cap::CAP_DAC_OVERRIDE,
    Cap::CAP_FOWNER,
    Cap::CAP_FSETID,
    Cap::CAP_KILL,
    Cap::CAP_SETGID,
    Cap::CAP_SETUID,
    Cap::CAP_SETPCAP,
    Cap::CAP_NET_BIND_SERVICE,
    Cap::CAP_SYS_CHROOT,
    Cap::CAP_SETFCAP,
]));

const fn mask(members: &[Cap]) -> u64 {
    let (mut mask, mut index) = (0, 0);
    while index < members.len() {
        mask |= 1 << members[index] as u8;
        index += 1;
    }
    mask
}

impl Set {
    /// All that the caps crate knows.
    pub const ALL: Self = Self((1 << (Cap::CAP_CHECKPOINT_RESTORE as u8 + 1)) - 1);

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
        self.0 & capability.0.bitmask() != 0
    }

    /// With `capability` in it.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.0.bitmask())
    }

    /// Without `capability`.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.0.bitmask())
    }

    /// Its members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        let mut members: Vec<Cap> = caps::all().into_iter().filter(|known| self.0 & known.bitmask() != 0).collect();
        members.sort_unstable_by_key(Cap::index);
        members.into_iter().map(Capability)
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
    limit_bounding_set(keep)?;
    limit_current_sets(keep)
}

/// The first half of [`keep_only`]: no exec will give back what is not in `keep`. It takes `CAP_SETPCAP`, which a
/// process loses when it becomes another user than root; so this comes before, and [`limit_current_sets`] after.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding_set(keep: Set) -> Result<()> {
    step!("capset",
        call: "prctl(PR_CAPBSET_DROP, each but {keep}); capset(effective = permitted = {keep}; inheritable = 0); prctl(PR_CAP_AMBIENT_CLEAR_ALL)";
        why: "root here may act as root inside and reach nothing outside; what has left the bounding set never comes back";
        shell: "capsh --drop=ALL_BUT_THESE -- -c COMMAND   # {keep}");
    for capability in caps::runtime::thread_all_supported() {
        if !keep.contains(Capability(capability)) {
            caps::drop(None, CapSet::Bounding, capability).or_cannot("give up", capability)?;
        }
    }
    // Those that a newer kernel has and the caps crate does not know: the kernel says where they end.
    for number in Cap::CAP_CHECKPOINT_RESTORE.index() + 1..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(rustix::io::Errno::INVAL) => break,
            outcome => outcome.or_cannot("give up", format_args!("capability {number}"))?,
        }
    }
    Ok(())
}

/// The second half of [`keep_only`]: what the caller has now and what exec would hand on.
///
/// # Errors
/// None that giving up could cause.
pub fn limit_current_sets(keep: Set) -> Result<()> {
    let attempt = "give up capabilities of";
    caps::clear(None, CapSet::Ambient).or_cannot(attempt, "the ambient set")?;
    let permitted = caps::read(None, CapSet::Permitted).or_cannot("read", "the caller's capabilities")?;
    let kept = permitted.into_iter().filter(|capability| keep.contains(Capability(*capability))).collect();
    // The effective set first: it can hold no capability that is not permitted.
    caps::set(None, CapSet::Effective, &kept).or_cannot(attempt, "the effective set")?;
    caps::set(None, CapSet::Permitted, &kept).or_cannot(attempt, "the permitted set")?;
    caps::clear(None, CapSet::Inheritable).or_cannot(attempt, "the inheritable set")
}

impl From<caps::errors::CapsError> for Cause {
    fn from(error: caps::errors::CapsError) -> Self {
        Self::Words(error.to_string())
    }
}

/// As the manual writes it: `CAP_CHOWN`.
impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Names with commas between, without `CAP_`.
impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, capability) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{}", capability.to_string().trim_start_matches("CAP_"))?;
        }
        Ok(())
    }
}

/// From a name with or without `CAP_`, in any case.
impl FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        caps::to_canonical(text).parse().map(Self).map_err(|_| {
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
