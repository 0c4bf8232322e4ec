//! `service-orchestrator`: Task 4, two services in two containers. It is not built yet.
//!
//! It will drive the `conductor` command; until that exists, the program says so and ends with 1.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("service-orchestrator: not built yet; tasks 1 and 2 are: see README.md");
    ExitCode::from(1)
}
