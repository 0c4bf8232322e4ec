//! Containers as their users meet them: the program is run, and the kernel is asked what came of it.
//!
//! They need root, and each makes a private host for itself first: mounts, network and host name of its own, so that
//! what a test breaks is nobody else's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod attacks;
mod caller;
mod commands;
mod copies;
mod escapes;
mod faults;
mod first;
mod flags;
mod habits;
mod lessons;
mod life;
mod names;
mod processes;
mod scratch;
mod streams;
mod terminal;
