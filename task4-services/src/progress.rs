//! What is told while it happens: each command line as it would be typed, and on a terminal how far it is.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells the user what is done and how far it is.
#[derive(Debug)]
pub struct Progress {
    /// None where nobody looks on: in a file or another program a bar is only noise.
    bar: Option<ProgressBar>,
    explain: bool,
}

impl Progress {
    /// On stderr if that is a terminal; `explain` adds why before each command line.
    pub fn new(explain: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is ours, so it is well formed; if not, the default one will do.
            let style = ProgressStyle::with_template("  {bar:20} {pos:>2}/{len:<2} {msg} ({elapsed})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, explain }
    }

    /// So many steps there will be.
    pub fn expect(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// A step begins.
    pub fn begin(&self, step: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(step.to_owned());
        }
    }

    /// It is done.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
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
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
