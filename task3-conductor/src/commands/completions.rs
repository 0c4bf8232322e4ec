//! `conductor completions SHELL`: what makes the Tab key know conductor's commands and options.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use nsutil::Result;

use crate::output::say;

/// Print a script that completes commands and options in your shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  source <(conductor completions bash)
  conductor completions bash > /etc/bash_completion.d/conductor
  conductor completions fish > ~/.config/fish/completions/conductor.fish")]
pub struct Completions {
    /// Which shell it is for
    shell: Shell,
}

impl Completions {
    /// Prints it, for the command line `conductor`.
    ///
    /// # Errors
    /// `EPIPE` when nobody reads.
    pub fn run(self, mut conductor: Command) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut conductor, "conductor", &mut script);
        say(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
