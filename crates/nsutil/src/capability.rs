//! Capabilities: the rights that make up root's power.
//!
//! For a privileged operation the kernel does not check whether a process is root, but whether it has one of some forty
//! capabilities. Root in a container keeps those that it needs to act as root *inside* (change owners, bind low ports,
//! become another user) and loses those that reach outside (mount, load modules, trace, set the clock).
//!
//! Each process has five sets. *Effective* is what the kernel checks; *permitted* is what may be made effective;
//! *bounding* limits what any later exec can give, so a capability dropped from it never comes back. *Inheritable* and
//! *ambient* pass capabilities through exec to programs that did not ask for them: both stay empty (CVE-2022-24769).
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

/// The default set of a container, the same eleven as Podman's: Docker's without `MKNOD`, `NET_RAW`, `AUDIT_WRITE`.
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
    /// All capabilities known to the caps crate.
    pub const ALL: Self = Self((1 << (Cap::CAP_CHECKPOINT_RESTORE as u8 + 1)) - 1);

    /// The set from the bit mask in /proc/PID/status.
    pub const fn of_mask(mask: u64) -> Self {
        Self(mask)
    }

    /// Number of capabilities in the set.
    pub fn count(self) -> usize {
        self.iter().count()
    }

    /// Whether `capability` is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & capability.0.bitmask() != 0
    }

    /// The set with `capability`.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.0.bitmask())
    }

    /// The set without `capability`.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.0.bitmask())
    }

    /// Its members in order of their numbers.
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

/// Permanently drops every capability of the caller that is not in `keep`, and clears what exec would inherit.
///
/// Capabilities that the caller does not have are not added: a host can lack some.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn keep_only(keep: Set) -> Result<()> {
    limit_bounding_set(keep)?;
    limit_current_sets(keep)
}

/// First half of [`keep_only`]: drops everything not in `keep` from the bounding set, so no exec can give it back. This
/// requires `CAP_SETPCAP`, which a process loses when it stops being root; so call it before changing the user, and
/// [`limit_current_sets`] after.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding_set(keep: Set) -> Result<()> {
    step!("capset",
        call: "prctl(PR_CAPBSET_DROP, each but {keep}); capset(effective = permitted = {keep}; inheritable = 0); prctl(PR_CAP_AMBIENT_CLEAR_ALL)";
        why: "root in the container may act as root inside and reach nothing outside; a capability dropped from the bounding set never comes back";
        shell: "capsh --drop=ALL_BUT_THESE -- -c COMMAND   # {keep}");
    for capability in caps::runtime::thread_all_supported() {
        if !keep.contains(Capability(capability)) {
            caps::drop(None, CapSet::Bounding, capability).or_cannot("give up", capability)?;
        }
    }
    // Capabilities of a newer kernel that the caps crate does not know: EINVAL marks the end.
    for number in Cap::CAP_CHECKPOINT_RESTORE.index() + 1..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(rustix::io::Errno::INVAL) => break,
            outcome => outcome.or_cannot("give up", format_args!("capability {number}"))?,
        }
    }
    Ok(())
}

/// Second half of [`keep_only`]: limits the current sets and clears what exec would inherit.
pub fn limit_current_sets(keep: Set) -> Result<()> {
    let attempt = "give up capabilities of";
    caps::clear(None, CapSet::Ambient).or_cannot(attempt, "the ambient set")?;
    let permitted = caps::read(None, CapSet::Permitted).or_cannot("read", "the caller's capabilities")?;
    let kept = permitted.into_iter().filter(|capability| keep.contains(Capability(*capability))).collect();
    // Effective first: it must stay a subset of permitted.
    caps::set(None, CapSet::Effective, &kept).or_cannot(attempt, "the effective set")?;
    caps::set(None, CapSet::Permitted, &kept).or_cannot(attempt, "the permitted set")?;
    caps::clear(None, CapSet::Inheritable).or_cannot(attempt, "the inheritable set")
}

impl From<caps::errors::CapsError> for Cause {
    fn from(error: caps::errors::CapsError) -> Self {
        Self::Words(error.to_string())
    }
}

/// As in capabilities(7): `CAP_CHOWN`.
impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Names separated by commas, without `CAP_`.
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
            format!("{text:?} is not a capability: use a name of capabilities(7), for example CAP_NET_RAW or net_raw")
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
