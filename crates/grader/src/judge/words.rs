//! How the judges say things: one wording for one fact.

use crate::trace::Namespaces;

/// `uts:[4026531838]`, as readlink(1) of `/proc/PID/ns/uts` shows it.
pub fn link(kind: &str, inode: u64) -> String {
    format!("{kind}:[{inode}]")
}

/// The namespace of `kind` in `namespaces`, as a link.
pub fn link_of(kind: &str, namespaces: &Namespaces) -> String {
    match namespaces.get(kind) {
        Some(inode) => link(kind, *inode),
        None => format!("{kind}:[unknown]"),
    }
}

/// `one`, `one and two`, `one, two and three`.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}
