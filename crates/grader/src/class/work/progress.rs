//! Progress: one line that changes on a terminal, one line a result elsewhere.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::{Job, StoredReport};

/// Counts the results.
pub struct Progress {
    bar: ProgressBar,
    all: usize,
}

impl Progress {
    /// A bar for `all` jobs.
    pub fn new(all: usize) -> Self {
        let bar = ProgressBar::new(all as u64);
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} graded, {left} left: {msg}") {
            let left = |state: &ProgressState, text: &mut dyn fmt::Write| {
                let _ = text.write_str(&in_words(state.eta()));
            };
            bar.set_style(style.with_key("left", left));
        }
        Self { bar, all }
    }

    /// Shows one finished job.
    pub fn done(&self, job: &Job, report: &StoredReport) {
        self.bar.inc(1);
        let outcome = match &report.error {
            Some(_) if report.missing => "not handed in".to_owned(),
            Some(why) => format!("not graded: {}", crate::escape::drawn(why)),
            None if report.build_error.is_some() => "does not build".to_owned(),
            None => format!("{} of {}", report.score, report.max_score.unwrap_or_default()),
        };
        let line = format!("{} {}: {outcome}", job.id, job.task);
        if self.bar.is_hidden() {
            // A closed stderr is not an error.
            let _ = writeln!(std::io::stderr(), "[{}/{}] {line}", self.bar.position(), self.all);
        } else {
            self.bar.set_message(line);
        }
    }

    /// Tells something that is no result.
    pub fn say(&self, line: &str) {
        // A closed stderr is no reason to stop grading.
        self.bar.suspend(|| drop(writeln!(std::io::stderr(), "{line}")));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_said_in_the_largest_unit_that_fits() {
        let said = [5, 61, 7300].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(said, ["5 s", "2 min", "2 h 1 min"]);
    }
}
