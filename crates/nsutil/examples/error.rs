//! What an error says: the attempt, the object, the kernel's reason, and what to do.
//!
//! Run: `cargo run --example error`

use nsutil::error::{OrCannot, line};

fn main() {
    let refused = std::fs::write("/proc/version", "mine").or_cannot("write to", "/proc/version");
    if let Err(error) = refused.map_err(|error| error.hint("it is the kernel's to write")) {
        println!("short: {error}");
        println!("whole: {}", line(&error));
        println!("errno: {:?}", error.errno());
    }
}
