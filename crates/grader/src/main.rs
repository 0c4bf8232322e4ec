//! `grade`: grades container labs by what the kernel saw, not by what was printed.
//!
//! A submission is run in a host-in-a-box, watched from outside, and thrown away with the box. What was seen is one
//! record ([`record::Run`]); the judges turn records into verdicts, and the reports turn verdicts into text for a person
//! or for a machine. See `docs/grading.md`.

mod arguments;
mod bless;
mod class;
mod cli;
mod coach;
mod error;
mod escape;
mod grading;
mod handout;
mod judge;
mod observe;
mod pace;
mod record;
mod report;
mod rubric;
mod sandbox;
mod self_test;
mod session;
mod signals;
mod submission;
mod sys;
mod task;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::from_arguments().and_then(cli::Cli::run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            anstream::eprintln!("grade: {}", escape::drawn(&error.line()));
            ExitCode::from(error.exit_code())
        }
    }
}
