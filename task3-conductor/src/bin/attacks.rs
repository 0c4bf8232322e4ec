//! `attacks`: calls the library's module of that name.

use std::process::ExitCode;

fn main() -> ExitCode {
    conductor::attacks::main()
}
