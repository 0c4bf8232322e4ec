//! Any text as a pair of ports, a name, a variable, a host name, a base or a subnet.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| conductor::fuzz::words(text));
