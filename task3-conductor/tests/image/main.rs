//! Images as their users meet them: built, listed, removed, broken off in the middle.
//!
//! They need root, and each makes a private host for itself first: mounts, network and host name of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod build_test;
mod cache;
mod copy;
mod debootstrap;
mod faults;
mod life;
