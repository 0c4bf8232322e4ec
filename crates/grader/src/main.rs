//! `grade`: grades container labs by what the kernel saw, not by what was printed.
//!
//! A submission is run in a host-in-a-box, watched from outside, and thrown away with the box. What was seen is one
//! record ([`trace::Run`]); the judges turn records into verdicts, and the reports turn verdicts into text for a person
//! or for a machine. See `docs/grading.md`.

mod arguments;
mod bless;
mod changes;
mod class;
mod cli;
mod diff;
mod edition;
mod fault;
mod grading;
mod handed_in;
mod hostbox;
mod judge;
mod lessons;
mod observe;
mod pace;
mod plan;
mod play;
mod report;
mod rubric;
mod run;
mod section;
mod self_test;
mod signals;
mod stage;
mod starter;
mod submission;
mod sys;
mod task;
mod trace;
mod transcript;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::from_arguments().and_then(cli::Cli::run) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            anstream::eprintln!("grade: {}", transcript::drawn(&fault.to_string()));
            ExitCode::from(fault.exit_code())
        }
    }
}
