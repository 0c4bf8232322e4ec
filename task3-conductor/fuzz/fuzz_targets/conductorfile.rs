//! Any bytes as a Conductorfile. Run: `cargo fuzz run conductorfile` in the folder above fuzz/.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conductor::fuzz::conductorfile(bytes));
