//! A container's network: its cable to the host, its addresses, what the firewall lets through, and its names.

pub mod names;
