//! The user's input as validated types: each is parsed once, when the command line or a record is read.

pub mod confinement;
pub mod env;
pub mod hostname;
pub mod name;
pub mod reference;
pub mod resources;
pub mod user;
pub mod volume;
