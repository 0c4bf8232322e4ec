//! Conductor: a container manager without a daemon. The program `conductor` is [`main`].
//!
//! Each command parses its arguments into valid types, plans without side effects, acts through guards, and finally
//! writes a record. What the kernel knows (is it running? which address?) is asked, never stored. A change of the host
//! is noted in the container's ledger first, so that the next command can undo what a killed one has left. See
//! docs/architecture.md.

pub mod attacks;
mod cli;
mod commands;
mod container;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hosts_file;
mod image;
mod network;
mod oci;
mod output;
mod spec;
mod store;

use std::process::ExitCode;

use nix::sys::signal::Signal;

use crate::output::advice;

/// The whole program: parses the command line, runs the command, and reports errors.
pub fn main() -> ExitCode {
    cli::reexec_early();
    let options = match cli::Conductor::of_command_line() {
        Ok(options) => options,
        // clap prints usage errors itself; --help and --version are no errors.
        Err(error) => {
            let code = if error.use_stderr() { output::failure::CONDUCTOR_FAILED } else { 0 };
            let _ = advice::escape_words(advice::advised(error)).print();
            return ExitCode::from(code);
        }
    };
    match options.run() {
        Ok(code) => code,
        Err(failure) => {
            if failure.is_broken_pipe() {
                // Like other programs: die by SIGPIPE if the reader of stdout is gone.
                let _ = nsutil::sys::default_action(Signal::SIGPIPE)
                    .and_then(|()| nix::sys::signal::raise(Signal::SIGPIPE));
            }
            failure.report();
            ExitCode::from(failure.code())
        }
    }
}
