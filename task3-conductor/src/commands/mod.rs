//! One file for each command: a struct that clap fills in, and its `run`.

pub mod addnetwork;
pub mod args;
pub mod attack;
pub mod build;
pub mod bundle;
pub mod commit;
pub mod completions;
pub mod cp;
pub mod exec;
pub mod history;
pub mod images;
pub mod inspect;
pub mod isolation;
pub mod kill;
pub mod load;
pub mod logs;
pub mod manual;
pub mod network;
pub mod pause;
pub mod peer;
pub mod ps;
pub mod pull;
pub mod rm;
pub mod rmcache;
pub mod rmi;
pub mod run;
pub mod save;
pub mod stats;
pub mod stop;
pub mod wait;

use std::process::ExitCode;

use nsutil::error::Result;

use crate::image::interrupt;
use crate::output::failure::Failure;

/// Output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people and scripts
    Table,
    /// JSON for programs, without the banner
    Json,
}

/// Runs `work` for each name. A failure is reported at once; the other names are still processed.
///
/// # Errors
/// When one failed; it has already been reported.
pub fn each<N>(names: &[N], mut work: impl FnMut(&N) -> Result<()>) -> Result<ExitCode, Failure> {
    let mut failed = None;
    for name in names {
        if let Err(error) = work(name) {
            let failure = Failure::from(error);
            failure.report();
            failed = Some(Failure::already_reported(failure.code().into()));
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Reports why a command was broken off; if the reason is a signal, the process ends by it, as shells expect.
///
/// # Errors
/// Those of sigaction(2) and kill(2).
pub fn broken_off(error: nsutil::Error) -> Result<Failure> {
    let failure = Failure::from(error);
    failure.report();
    interrupt::deliver()?;
    Ok(Failure::already_reported(failure.code().into()))
}

/// A size in bytes as `du -h` prints it: `4.0K`, `312M`, rounded up.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut unit = 0;
    let mut scale: u64 = 1 << 10;
    // A value that rounds up to 1024 is one of the next unit.
    while bytes.div_ceil(scale) >= 1024 && unit + 1 < UNITS.len() {
        scale <<= 10;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(scale));
    if tenths < 100 {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{}{}", bytes.div_ceil(scale), UNITS[unit])
    }
}

/// A date as tables show it: `2026-01-31`, in local time.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".to_owned(), |time| time.to_zoned_datetime(jiff::tz::TimeZone::system()).date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_du_writes_them() {
        // Checked against `truncate -s N file; du --apparent-size -h file`.
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10_137, "9.9K"),
            (10_138, "10K"),
            (1_047_552, "1023K"),
            (1_047_553, "1.0M"),
            (327_155_712, "312M"),
            (1 << 40, "1.0T"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
