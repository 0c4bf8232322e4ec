//! The life cycle of a container: plan, create, join, monitor, stop.
//!
//! ```text
//! run ─ create ── overlay, cgroup, clone3 ──┐         exec ─ join ── namespaces of a running one ──┐
//!                                           ▼                                                      ▼
//!                        setup: own root, /dev, /proc, /sys, masks ─────────────►  confine: one road:
//!                                                                     capabilities, seccomp, descriptors, exec
//! ```
//!
//! `create` is the host side, `setup` what the new process does to its environment, and `confine` the last part, which
//! `run` and `exec` share. `monitor` and `terminal` stay with a running one; `stop` undoes everything by the ledger.

pub mod cgroup;
pub mod chroot;
pub mod confine;
pub mod create;
pub mod devices;
pub mod disposition;
pub mod join;
pub mod loopback;
pub mod masks;
pub mod monitor;
pub mod plan;
pub mod reexec;
pub mod relay;
pub mod root;
pub mod setup;
pub mod stop;
pub mod terminal;
pub mod volumes;
