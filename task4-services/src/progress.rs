//! Progress output: each command line as a user would type it, and on a terminal a progress bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Prints command lines and shows progress.
#[derive(Debug)]
pub struct Progress {
    /// On stderr, and only if that is a terminal.
    bar: ProgressBar,
    explain: bool,
}

impl Progress {
    /// `explain` adds the reason before each command line.
    pub fn new(explain: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is constant and valid; the default style avoids a panic.
        let style = ProgressStyle::with_template("  {bar:20} {pos:>2}/{len:<2} {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, explain }
    }

    /// Sets the number of steps and starts the bar.
    pub fn expect(&self, steps: usize) {
        self.bar.set_length(steps as u64);
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    /// Begins a step.
    pub fn begin(&self, step: &str) {
        self.bar.set_message(step.to_owned());
    }

    /// Counts a step as done.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// Prints a command line and its reason.
    pub fn command(&self, line: &str, why: &str) {
        self.line(&format!("\x1b[1m$ {line}\x1b[0m"), why);
    }

    /// Prints a line.
    pub fn say(&self, text: &str) {
        self.line(text, "");
    }

    fn line(&self, text: &str, why: &str) {
        self.aside(|| {
            if self.explain && !why.is_empty() {
                anstream::println!("# {why}");
            }
            anstream::println!("{text}");
        });
    }

    /// Runs `work`, which may write to the terminal, with the bar hidden.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
