//! Progress of a build: a bar on a terminal, plain lines otherwise.
//!
//! Both go to stderr; stdout is for what scripts read. Look: `conductor build eg 2>build.log`.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::layer::Outcome;

/// Shows the progress of a build.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    phase: String,
    begun: Instant,
}

/// Progress of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A number of items.
    Count {
        /// Done.
        now: u64,
        /// To be done.
        of: u64,
    },
    /// 0 to 100.
    Percent(u64),
}

impl Progress {
    /// On stderr, with a bar if that is a terminal.
    pub fn on_stderr() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            // The template is ours, so it is well formed; if not, the default one will do.
            let style = ProgressStyle::with_template("  {msg:<36!} {bar:20} {pos:>3}/{len:<3} {elapsed:>4}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, phase: String::new(), begun: Instant::now() }
    }

    /// Begins a layer.
    pub fn begin(&mut self, instruction: &str) {
        self.begun = Instant::now();
        self.phase.clear();
        self.line(instruction);
        if let Some(bar) = &self.bar {
            bar.reset();
        }
    }

    /// Reports progress of a phase; `detail` is the current item, such as a package.
    pub fn step(&mut self, phase: &str, detail: &str, amount: Amount) {
        if let Some(bar) = &self.bar {
            let (now, of) = match amount {
                Amount::Count { now, of } => (now, of),
                Amount::Percent(percent) => (percent, 100),
            };
            bar.set_length(of);
            bar.set_position(now);
            bar.set_message(if detail.is_empty() { phase.to_owned() } else { format!("{phase}: {detail}") });
        } else if phase != self.phase {
            match amount {
                Amount::Count { of, .. } => self.line(&format!("  {phase} ({of})")),
                Amount::Percent(_) => self.line(&format!("  {phase}")),
            }
        }
        if phase != self.phase {
            phase.clone_into(&mut self.phase);
        }
    }

    /// Ends a layer.
    pub fn end(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Cached => self.line("  cached"),
            Outcome::Made => self.line(&format!("  done in {}", seconds(self.begun.elapsed()))),
        }
    }

    /// Removes the bar, so that others can write to the terminal.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write_line(text)),
            None => write_line(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Failure to write does not stop the work.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
