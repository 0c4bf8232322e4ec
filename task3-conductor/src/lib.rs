//! Conductor: a container manager without a daemon. The program `conductor` is [`main`].
//!
//! Each command parses into types that cannot be wrong, plans without side effects, acts through guards, and last
//! writes a record. What the kernel knows (does it run? which address?) is asked, never stored. What a command changes
//! on the host stands in the container's ledger before it is changed, so that the next command can undo what a killed
//! one left behind. See docs/architecture.md.

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

/// The whole program: parses the command line, does what was asked, and tells what went wrong.
pub fn main() -> ExitCode {
    cli::start_anew_early();
    let options = match cli::Conductor::of_command_line() {
        Ok(options) => options,
        // clap prints usage errors itself; --help and --version are no errors.
        Err(error) => {
            let code = if error.use_stderr() { output::failure::OURS } else { 0 };
            let _ = advice::harmless(advice::advised(error)).print();
            return ExitCode::from(code);
        }
    };
    match options.run() {
        Ok(code) => code,
        Err(failure) => {
            if failure.is_that_nobody_reads() {
                // As any program that prints: what it wanted to say, nobody wants to hear.
                let _ = nsutil::sys::default_action(Signal::SIGPIPE)
                    .and_then(|()| nix::sys::signal::raise(Signal::SIGPIPE));
            }
            failure.tell();
            ExitCode::from(failure.code())
        }
    }
}
