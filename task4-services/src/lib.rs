//! What the two services share: how they listen, log and end.

pub mod server;
