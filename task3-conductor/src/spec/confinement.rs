//! Isolation of a container: the result of `--cap-add`, `--cap-drop`, `--privileged` and `--weak`.
//!
//! It is in the container's record, because `exec` must be confined exactly like `run`.

use std::str::FromStr;

use nsutil::capability::{CONTAINER, Capability, Set};
use nsutil::error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// Isolation of a process in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Which mechanisms isolate it.
    pub strength: Strength,
    /// Its capabilities.
    #[serde(with = "by_name")]
    pub capabilities: Set,
}

/// Mechanisms that isolate a container from its host, besides namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// All: its own root, masks, few capabilities, a seccomp filter.
    Contained,
    /// Only its own root: all capabilities, all devices, no filter, no masks.
    Privileged,
    /// Only a chroot, as a shell script would do it. For lessons.
    Chroot,
}

/// The user's options.
#[derive(Debug, Clone, Default)]
pub struct ConfinementOptions {
    /// `--privileged`.
    pub privileged: bool,
    /// `--weak`.
    pub weak: Option<Weakness>,
    /// `--cap-add`.
    pub add: Vec<CapabilityArg>,
    /// `--cap-drop`.
    pub drop: Vec<CapabilityArg>,
}

/// Values of `--weak`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Weakness {
    /// chroot instead of pivot_root, the host's /dev, all capabilities, no seccomp filter
    Chroot,
}

/// One capability, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapabilityArg {
    /// `ALL`.
    All,
    /// One.
    One(Capability),
}

impl Default for Confinement {
    fn default() -> Self {
        Self { strength: Strength::Contained, capabilities: CONTAINER }
    }
}

impl Confinement {
    /// The confinement for the user's options.
    ///
    /// # Errors
    /// In words when the options contradict each other.
    pub fn from_options(options: &ConfinementOptions) -> Result<Self> {
        let strength = match (options.weak, options.privileged) {
            (Some(Weakness::Chroot), _) => Strength::Chroot,
            (None, true) => Strength::Privileged,
            (None, false) => Strength::Contained,
        };
        let capabilities =
            if strength == Strength::Contained { capabilities(&options.add, &options.drop)? } else { Set::ALL };
        Ok(Self { strength, capabilities })
    }

    /// Whether all mechanisms apply.
    pub fn is_contained(&self) -> bool {
        self.strength == Strength::Contained
    }

    /// Whether its root is only a chroot.
    pub fn is_chroot(&self) -> bool {
        self.strength == Strength::Chroot
    }
}

/// As in Docker: `--cap-drop ALL` starts with the empty set, `--cap-add ALL` with the full one.
fn capabilities(add: &[CapabilityArg], drop: &[CapabilityArg]) -> Result<Set> {
    let both = add.iter().find(|named| drop.contains(named));
    if let Some(both) = both {
        return Err(Error::new("both add and drop", both, "say one of the two"));
    }
    let start = match (add.contains(&CapabilityArg::All), drop.contains(&CapabilityArg::All)) {
        (true, _) => Set::ALL,
        (false, true) => Set::default(),
        (false, false) => CONTAINER,
    };
    let one = |named: &CapabilityArg| match named {
        CapabilityArg::All => None,
        CapabilityArg::One(capability) => Some(*capability),
    };
    let without = drop.iter().filter_map(one).fold(start, Set::without);
    Ok(add.iter().filter_map(one).fold(without, Set::with))
}

impl FromStr for CapabilityArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let known = || Set::ALL.iter().map(|capability| capability.to_string());
        text.parse().map(Self::One).map_err(|_| {
            let upper = format!("CAP_{}", text.to_ascii_uppercase().trim_start_matches("CAP_"));
            match crate::output::advice::closest(&upper, known()) {
                Some(closest) => format!("{} is not a capability: did you mean {closest}?", quoted(text)),
                None => format!(
                    "{} is not a capability: use a name of capabilities(7), for example NET_RAW, or ALL",
                    quoted(text)
                ),
            }
        })
    }
}

impl std::fmt::Display for CapabilityArg {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => out.write_str("ALL"),
            Self::One(capability) => capability.fmt(out),
        }
    }
}

/// Capabilities in records: a list of names.
mod by_name {
    use nsutil::capability::{Capability, Set};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub fn serialize<S: Serializer>(set: &Set, to: S) -> Result<S::Ok, S::Error> {
        set.iter().map(|capability| capability.to_string()).collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Set, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        let members: Result<Vec<Capability>, String> = names.iter().map(|name| name.parse()).collect();
        members.map(|members| members.into_iter().collect()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_options(add: &[&str], drop: &[&str]) -> Result<String> {
        let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        let options = ConfinementOptions { add: parse(add), drop: parse(drop), ..ConfinementOptions::default() };
        Confinement::from_options(&options).map(|confinement| confinement.capabilities.to_string())
    }

    #[test]
    fn capabilities_are_reckoned_as_docker_does() {
        assert_eq!(from_options(&[], &[]).unwrap(), CONTAINER.to_string());
        assert_eq!(from_options(&["CHOWN", "net_raw"], &["all"]).unwrap(), "CHOWN,NET_RAW");
        assert_eq!(from_options(&[], &["ALL"]).unwrap(), "");
        assert_eq!(from_options(&["ALL"], &["SYS_ADMIN"]).unwrap().matches(',').count(), 39);
        assert!(!from_options(&["ALL"], &["SYS_ADMIN"]).unwrap().contains("SYS_ADMIN"));
        assert!(!from_options(&[], &["KILL"]).unwrap().contains("KILL"));
        let both = nsutil::error::line(&from_options(&["KILL"], &["CAP_KILL"]).unwrap_err());
        assert_eq!(both, "cannot both add and drop CAP_KILL: say one of the two");
    }

    #[test]
    fn a_name_that_is_nearly_one_is_guessed() {
        assert_eq!(
            "NET_ROW".parse::<CapabilityArg>().unwrap_err(),
            "\"NET_ROW\" is not a capability: did you mean CAP_NET_RAW?"
        );
        assert!("".parse::<CapabilityArg>().unwrap_err().contains("for example"));
    }

    #[test]
    fn a_record_keeps_it_by_name() {
        let kept = Confinement {
            strength: Strength::Privileged,
            capabilities: "KILL".parse().map(|kill| Set::default().with(kill)).unwrap(),
        };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(text, "{\"strength\":\"privileged\",\"capabilities\":[\"CAP_KILL\"]}");
        assert_eq!(serde_json::from_str::<Confinement>(&text).unwrap(), kept);
    }
}
