//! What a user asks for, as types that cannot be wrong: each is parsed once, when the command line or a record is read.

pub mod confinement;
pub mod env;
pub mod hostname;
pub mod limits;
pub mod name;
pub mod reference;
pub mod user;
pub mod volume;
