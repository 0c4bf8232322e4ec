//! One command, one file, one shape: a struct that clap fills, and `run`.

pub mod addnetwork;
pub mod build;
pub mod exec;
pub mod images;
pub mod inspect;
pub mod logs;
pub mod peer;
pub mod ps;
pub mod run;
pub mod stop;

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people, and for scripts that cut columns.
    Table,
    /// For programs; without the banner.
    Json,
}

/// A day as tables show it: `2026-01-31`, in local time.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".to_owned(), |time| time.to_zoned_datetime(jiff::tz::TimeZone::system()).date().to_string())
}
