//! Counts cases, and goes on when one fails, so that a table says how many hold and not only whether all do.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Cases of one kind.
pub struct Tally {
    table: &'static str,
    of: String,
    tried: usize,
    failures: Vec<String>,
}

impl Tally {
    /// Counts for a table, under a name of its own in there.
    pub fn new(table: &'static str, of: impl Into<String>) -> Self {
        Self { table, of: of.into(), tried: 0, failures: Vec::new() }
    }

    /// One case: it holds unless `check` panics.
    pub fn case(&mut self, name: impl AsRef<str>, check: impl FnOnce()) {
        self.tried += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            self.failures.push(format!("{}: {}", name.as_ref(), said.unwrap_or_default()));
        }
    }

    /// Prints the count, for `make prove` to read, and fails if a case did; gives how many there were.
    pub fn end(self) -> usize {
        let Self { table, of, tried, failures } = self;
        println!("tally\t{table}\t{of}\t{tried}\t{}", tried - failures.len());
        assert!(tried > 0, "{table}, {of}: nothing was tried");
        assert!(failures.is_empty(), "{} of {tried} failed:\n{}", failures.len(), failures.join("\n"));
        tried
    }
}

/// Whether all is to be tried, however long it takes: `make prove`.
pub fn is_full() -> bool {
    std::env::var_os("CONDUCTOR_PROVE").is_some()
}
