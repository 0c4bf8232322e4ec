//! Resource limits of a container: their syntax, and the kernel's values.

use std::fmt;
use std::str::FromStr;

use nsutil::cgroup::{self, Quota};
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// Requested limits; `None` was not requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceLimits {
    /// CPU time.
    #[serde(rename = "cpu_quota_us")]
    pub cpus: Option<Cpus>,
    /// Memory.
    #[serde(rename = "memory_bytes")]
    pub memory: Option<Memory>,
    /// Maximum number of processes and threads; beyond it fork fails with `EAGAIN`. The default is
    /// [`DEFAULT_PROCESSES`].
    #[serde(rename = "most_processes")]
    pub processes: Option<ProcessCount>,
}

/// Default limit of processes.
pub const DEFAULT_PROCESSES: u32 = 1024;
/// Period of the CPU limit in microseconds: the kernel's default.
pub const PERIOD_US: u32 = 100_000;

/// CPU time as a number of cores, kept as microseconds in each [`PERIOD_US`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus {
    /// CPU time that all processes together may use in a period.
    pub quota_us: u32,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memory {
    /// The limit in bytes.
    pub bytes: u64,
}

/// Maximum number of processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessCount {
    /// The maximum; 0 is no limit.
    pub most: u32,
}

impl ResourceLimits {
    /// The effective limit of processes; none is unlimited.
    pub fn max_processes(&self) -> Option<u32> {
        Some(self.processes.map_or(DEFAULT_PROCESSES, |processes| processes.most)).filter(|most| *most > 0)
    }

    /// The requested limits, as the kernel's values.
    pub fn wanted(&self) -> cgroup::Limits {
        cgroup::Limits {
            cpu: self.cpus.map(|Cpus { quota_us }| Quota { quota_us, period_us: PERIOD_US }),
            memory_bytes: self.memory.map(|memory| memory.bytes),
            processes: self.processes.map(|processes| processes.most).filter(|most| *most > 0),
        }
    }

    /// The same with the default limit of processes.
    pub fn in_force(&self) -> cgroup::Limits {
        cgroup::Limits { processes: self.max_processes(), ..self.wanted() }
    }
}

/// Maximum number of CPUs (`CONFIG_NR_CPUS`).
const MAX_CPUS: u32 = 8192;
/// A container cannot be set up with less.
const MIN_MEMORY: u64 = 6 << 20;
/// Limit of the kernel's page counters.
const MAX_MEMORY: u64 = 1 << 60;
/// `PID_MAX_LIMIT` of the kernel.
const MAX_PROCESSES: u32 = 4 << 20;

impl FromStr for Cpus {
    type Err = String;

    /// Digits, and up to four after a point: `2`, `0.5`, `.5`, `1.25`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{} is not a number of CPUs: use 0.01 to {MAX_CPUS}, for example 0.5 or 2", quoted(text));
        let (whole, part) = decimal(text).filter(|(_, part)| part.len() <= 4).ok_or_else(wrong)?;
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| wrong())?;
        // A part is ten-thousandths of a core, a period has a hundred thousand microseconds.
        let quota_us = whole.checked_mul(PERIOD_US).and_then(|quota| quota.checked_add(part * (PERIOD_US / 10_000)));
        match quota_us {
            Some(quota_us) if (PERIOD_US / 100..=MAX_CPUS * PERIOD_US).contains(&quota_us) => Ok(Self { quota_us }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.quota_us / PERIOD_US, self.quota_us % PERIOD_US);
        let text = format!("{whole}.{part:05}");
        out.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Memory {
    type Err = String;

    /// Digits, up to nine after a point, and a unit: `512m`, `1.5g`, `67108864`. A part of a byte is left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = bytes(text).filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes));
        bytes.map(|bytes| Self { bytes }).ok_or_else(|| {
            format!(
                "{} is not a size of memory: use a number and b, k, m, g or t (powers of 1024), at least 6m, \
                 for example 512m",
                quoted(text)
            )
        })
    }
}

/// Parses a size in Docker's syntax; none if invalid.
pub fn bytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u128 = match text.get(number.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let (whole, part) = decimal(number).filter(|(_, part)| part.len() <= 9)?;
    let of_a_part = 10_u128.pow(part.len() as u32);
    let number: u128 = format!("{whole}{part}").parse().ok()?;
    u64::try_from(number.checked_mul(unit)? / of_a_part).ok()
}

impl FromStr for ProcessCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // As Docker has it.
        let number = if text == "-1" { Some(0) } else { digits.then(|| text.parse().ok()).flatten() };
        number.filter(|most| *most <= MAX_PROCESSES).map(|most| Self { most }).ok_or_else(|| {
            format!(
                "{} is not a number of processes: use 1 to {MAX_PROCESSES}, or -1 for no limit; without the option it is \
                 {DEFAULT_PROCESSES}",
                quoted(text)
            )
        })
    }
}

/// The digits before and after the point, each non-empty; `.5` is `0.5`.
fn decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let whole = if whole.is_empty() && text.starts_with('.') { "0" } else { whole };
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole) && are_digits(part)).then_some((whole, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_become_microseconds_of_each_period() {
        for (text, quota_us) in
            [("1", 100_000), ("0.5", 50_000), ("0.01", 1000), ("1.25", 125_000), ("2.0001", 200_010)]
        {
            assert_eq!(text.parse(), Ok(Cpus { quota_us }));
            assert_eq!(text.parse::<Cpus>().unwrap().to_string(), text);
        }
        assert_eq!(".5".parse(), Ok(Cpus { quota_us: 50_000 }));
        assert_eq!("8192".parse(), Ok(Cpus { quota_us: 819_200_000 }), "the most that the message names");
        for wrong in
            ["", "0", "0.001", "-1", "+1", "1.", ".", "1e3", "nan", "inf", "9999", "1,5", " 1", "0x1", "1.23456"]
        {
            assert!(wrong.parse::<Cpus>().unwrap_err().contains("for example 0.5"), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_taken_as_docker_takes_them() {
        for (text, bytes) in [
            ("6m", 6 << 20),
            ("512M", 512 << 20),
            ("2g", 2 << 30),
            ("1.5g", 1536 << 20),
            (".5GiB", 512 << 20),
            ("67108864", 64 << 20),
            ("67108864.9", 64 << 20),
            ("7MiB", 7 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Memory { bytes }), "{text}");
        }
        let no_sizes =
            "|0|-1|1k|4m|99P|1 g|g|.g|1.g|1.5.5g|+8m|99999999t|8mm|٣m|0x10m|9999999999999999999.9t|1.0000000000g";
        for wrong in no_sizes.split('|') {
            assert!(wrong.parse::<Memory>().unwrap_err().contains("for example 512m"), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_of_processes_limits_them_and_minus_one_does_not() {
        let most = |text: &str| {
            ResourceLimits { processes: Some(text.parse().unwrap()), ..ResourceLimits::default() }.max_processes()
        };
        assert_eq!((most("7"), most("-1"), most("0")), (Some(7), None, None));
        assert_eq!(ResourceLimits::default().max_processes(), Some(DEFAULT_PROCESSES));
        for wrong in ["", "-2", "--1", "-0", "+7", "7.0", "4194305", "99999999999", "many"] {
            assert!(wrong.parse::<ProcessCount>().unwrap_err().contains("it is 1024"), "{wrong:?}");
        }
    }
}
