//! What students get and may change: the lessons' marked sections, the starter made from them, and a submission beside it.
//!
//! The solution is the only source. A section is a function of Rust with a heading in its doc comment ([`section`]), or the
//! lines of C and bash between two comments ([`section::lines`]); emptying all of them gives the starter. A submission may
//! differ from the handout inside these sections only.
//!
//! Look: `grade starter DIR`, then `diff -r . DIR`.

pub mod changes;
pub mod edition;
pub mod lessons;
pub mod section;
pub mod starter;
pub mod workspace;
