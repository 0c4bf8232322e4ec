//! Names of images and containers, validated once.
//!
//! A name becomes part of paths, interface names, cgroup names and firewall comments. `FromStr`, called by clap, is the
//! only way to create one, so all other code can rely on it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// Longest name, in bytes: a host name's label may have 63 (hostname(7)).
const LONGEST: usize = 63;

macro_rules! name_type {
    ($type:ident, $what:literal, $example:literal) => {
        #[doc = concat!("The name of ", $what, ": 1 to 63 ASCII letters, digits, `_`, `.`, `-`, the ends letters or digits.")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if is_name(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(format!(
                    "{} is not a name for {}: use 1 to {LONGEST} letters, digits, '_', '.' or '-', \
                     beginning and ending with a letter or digit, for example {}",
                    quoted(text), $what, $example
                ))
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                // pad, so that a column's width applies.
                out.pad(&self.0)
            }
        }

        impl AsRef<Path> for $type {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }
    };
}

name_type!(ImageName, "an image", "mydebian");
name_type!(ContainerName, "a container", "web-1");

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= LONGEST
        && ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_taken_as_they_are() {
        for name in ["a", "0", "web-1", "my.image_2", "eg", "A", &"x".repeat(63)] {
            assert_eq!(name.parse::<ContainerName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn paths_options_and_shell_words_are_refused_with_an_example() {
        let long = "x".repeat(64);
        let wrong = [
            "",
            ".",
            "..",
            "../x",
            "/etc",
            "a/b",
            "a b",
            "a\tb",
            "a\n",
            "é",
            "😀",
            "-x",
            "--",
            "a;b",
            "$(id)",
            "`id`",
            "a:b",
            "a,b",
            "%s",
            "a.",
            "x\u{202e}",
            "'",
            "\"",
            &long,
        ];
        for name in wrong {
            let error = name.parse::<ContainerName>().unwrap_err();
            assert!(error.contains("for example web-1"), "{name:?}: {error}");
            assert!(!error.contains('\n') && !error.contains('\u{202e}'), "{error}");
        }
    }
}
