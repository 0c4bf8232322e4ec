//! `conductor`: calls the library.
//!
//! Apart, because `make build` links it a second time, statically: that takes a second so, and not half a minute.

use std::process::ExitCode;

fn main() -> ExitCode {
    conductor::main()
}
