//! Any bytes as the record of an image, a container or a network, or as a ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conductor::fuzz::records(bytes));
