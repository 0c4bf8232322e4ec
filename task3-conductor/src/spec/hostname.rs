//! Host names.

use std::fmt;
use std::str::FromStr;

use crate::output::escape::quoted;

/// A host name: labels of 1 to 63 letters, digits and `-`, beginning and ending with a letter or digit, joined by dots,
/// up to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname(String);

/// The kernel's limit. See gethostname(2).
const LONGEST_HOSTNAME: usize = 64;

impl FromStr for Hostname {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_label = |label: &str| {
            let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            bytes.len() < LONGEST_HOSTNAME
                && ends_well(bytes.first())
                && ends_well(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        };
        if text.len() <= LONGEST_HOSTNAME && text.split('.').all(is_label) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{} is not a host name: use up to {LONGEST_HOSTNAME} letters, digits, '-' and '.', for example web-1.lab",
            quoted(text)
        ))
    }
}

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_host_name_is_refused_with_an_example() {
        let long = ["x"; 33].join(".");
        for wrong in ["", "a b", "-a", "a-", "a..b", "é", "a_b", &long] {
            assert!(wrong.parse::<Hostname>().unwrap_err().contains("for example web-1"), "{wrong:?}");
        }
        assert_eq!("web-1.lab".parse::<Hostname>().unwrap().to_string(), "web-1.lab");
    }
}
