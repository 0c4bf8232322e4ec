//! `attacks`: see the library's module of that name, of which this is the door.

use std::process::ExitCode;

fn main() -> ExitCode {
    conductor::attacks::main()
}
