//! Conductor in bad company: killed at every step and at any moment, given steps that fail, words that mean nothing,
//! records that were damaged, disks that are full.
//!
//! Afterwards the same holds each time: one line said why, the name can be used, and the host is as it was. What a table
//! of cases drives prints how many there were (see `tally`); `make prove` adds them up, and runs all of what `make test`
//! runs a part of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod crash;
mod hung;
mod input;
mod process;
mod random;
mod resources;
mod state;
mod steps;
mod test_store;
mod together;
mod tools;
mod values;
