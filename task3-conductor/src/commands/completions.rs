//! `conductor completions SHELL`: a completion script for the shell.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use nsutil::Result;

use crate::output::say;

/// Print a completion script for commands and options
#[derive(clap::Args)]
#[command(after_help = "Examples:
  source <(conductor completions bash)
  conductor completions bash > /etc/bash_completion.d/conductor
  conductor completions fish > ~/.config/fish/completions/conductor.fish")]
pub struct Completions {
    /// Shell for which to print it
    shell: Shell,
}

impl Completions {
    /// Prints the script for the program `conductor`.
    ///
    /// # Errors
    /// `EPIPE` when the reader has closed the pipe.
    pub fn run(self, mut conductor: Command) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut conductor, "conductor", &mut script);
        say(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
