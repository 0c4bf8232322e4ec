//! The command line, parsed into types that can only hold valid values.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use nix::unistd::{SysconfVar, sysconf};
use nsutil::cgroup::Quota;

use crate::subtask::Subtask;

/// Task 2: container_prog in a root of its own, then in namespaces, then under a CPU limit
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  sudo simple_container\n  sudo simple_container 2b --explain\n  sudo simple_container 2c --cpus 0.25\n\n\
                  Exit code: 0 all shown, 1 something failed, 2 wrong usage, 128+n ended by signal n"
)]
pub struct Options {
    /// Which subtask to show
    #[arg(value_enum, default_value_t = What::All, hide_possible_values = false)]
    pub what: What,
    /// Folder that becomes the container's root; made if missing, and kept afterwards
    #[arg(long, value_name = "DIR", default_value = "container_root")]
    pub root: PathBuf,
    /// CPU time for subtask 2c, in cores
    #[arg(long, value_name = "CORES", default_value_t = Cpus::HALF_OF_ONE, allow_hyphen_values = true)]
    pub cpus: Cpus,
    /// Tell each step on stderr as it happens: the call, why, and the shell command that does the same
    #[arg(long)]
    pub explain: bool,
}

/// One subtask or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A root directory of its own
    #[value(name = "2a")]
    TwoA,
    /// 2a, and process numbers and host name of its own
    #[value(name = "2b")]
    TwoB,
    /// 2b, and IPC of its own and a CPU limit
    #[value(name = "2c")]
    TwoC,
    /// One after the other
    All,
}

/// A CPU limit in hundredths of a core: at least one, at most all cores of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus {
    hundredths: u32,
}

impl What {
    /// The subtasks in their order.
    pub fn subtasks(self) -> &'static [Subtask] {
        match self {
            Self::TwoA => &[Subtask::TwoA],
            Self::TwoB => &[Subtask::TwoB],
            Self::TwoC => &[Subtask::TwoC],
            Self::All => &[Subtask::TwoA, Subtask::TwoB, Subtask::TwoC],
        }
    }
}

impl Cpus {
    /// The limit of the assignment.
    const HALF_OF_ONE: Self = Self { hundredths: 50 };
    const PERIOD_US: u32 = 100_000;

    /// The limit as CPU time in a period of 100 ms.
    pub fn quota(self) -> Quota {
        Quota { quota_us: self.hundredths * (Self::PERIOD_US / 100), period_us: Self::PERIOD_US }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // If sysconf(3) does not know, there is at least one.
        let most = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
        let range = || format!("a number of cores from 0.01 to {most}, this machine's, is needed");
        let cores: f64 = text.parse().map_err(|_| range())?;
        if (0.01..=most as f64).contains(&cores) {
            // It is in range, so it fits: no machine has forty million cores.
            Ok(Self { hundredths: (cores * 100.0).round() as u32 })
        } else {
            Err(range())
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", f64::from(self.hundredths) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_core_is_50_of_each_100_ms() {
        assert_eq!(Cpus::HALF_OF_ONE.quota(), Quota { quota_us: 50_000, period_us: 100_000 });
        assert_eq!("0.5".parse(), Ok(Cpus::HALF_OF_ONE));
        assert_eq!("0.01".parse::<Cpus>().map(|cpus| cpus.quota().quota_us), Ok(1000));
    }

    #[test]
    fn what_is_no_share_of_this_machine_is_refused() {
        for text in ["0", "-1", "-0.5", "nan", "inf", "9999", "0.001", "1e300", "half", "", "0,5", "0.5 "] {
            let refusal = text.parse::<Cpus>().err();
            assert!(refusal.is_some_and(|told| told.starts_with("a number of cores from 0.01 to ")), "{text}");
        }
    }
}
