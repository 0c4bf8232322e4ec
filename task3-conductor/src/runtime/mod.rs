//! The life of a container: from a plan to a process, and back to nothing.
//!
//! ```text
//! run ─ host ── overlay, cgroup, birth ──┐            exec ─ exec ── joins a running one ──┐
//!                                        ▼                                                 ▼
//!                       inside: own root, /dev, /proc, /sys, masks ─────────────►  confine: one road:
//!                                                                     capabilities, seccomp, descriptors, exec
//! ```
//!
//! `host` is what happens on the host's side, `inside` what the new process does to its surroundings, and `confine`
//! the last stretch, which `run` and `exec` share. `teardown` takes everything back, by the ledger.

pub mod attach;
pub mod cgroup;
pub mod confine;
pub mod devices;
pub mod disposition;
pub mod exec;
pub mod host;
pub mod inside;
pub mod loopback;
pub mod masks;
pub mod monitor;
pub mod own_binary;
pub mod relay;
pub mod root;
pub mod teardown;
pub mod volumes;
pub mod weak;
