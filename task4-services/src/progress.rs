//! What is told while it happens: each command line as it would be typed, and on a terminal how far it is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells the user what is done and how far it is.
#[derive(Debug)]
pub struct Progress {
    /// On stderr, and only if that is a terminal: in a file or another program a bar is noise.
    bar: ProgressBar,
    explain: bool,
}

impl Progress {
    /// `explain` adds why before each command line.
    pub fn new(explain: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is ours, so it is well formed; if not, the default one will do.
        let style = ProgressStyle::with_template("  {bar:20} {pos:>2}/{len:<2} {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, explain }
    }

    /// So many steps there will be.
    pub fn expect(&self, steps: usize) {
        self.bar.set_length(steps as u64);
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    /// A step begins.
    pub fn begin(&self, step: &str) {
        self.bar.set_message(step.to_owned());
    }

    /// It is done.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// A command line, and why it is typed.
    pub fn command(&self, line: &str, why: &str) {
        self.line(&format!("\x1b[1m$ {line}\x1b[0m"), why);
    }

    /// A line of its own.
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

    /// Does something that may write to the terminal itself.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
