//! The base of an image: the word after `FROM`.

use std::fmt;
use std::str::FromStr;

use crate::output::escape::quoted;
use crate::spec::name::ImageName;
use crate::spec::reference::{Reference, SCHEME};

/// The first layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The programs of this host.
    Host,
    /// Nothing.
    Scratch,
    /// A distribution's suite, by debootstrap.
    Suite(Distribution, Suite),
    /// The layers of another image.
    Image(ImageName),
    /// The layers of an image in a registry.
    Registry(Reference),
}

/// Distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// A release's code name, such as `bookworm`: lower-case letters, digits, `-`, `.`; debootstrap has a script for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite(String);

/// What may stand after FROM, as errors and help say it.
pub const FORMS: &str = "debian:SUITE, ubuntu:SUITE, docker://REFERENCE, host, scratch, or the name of an image";

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let suite = |distribution, suite: &str| suite.parse().map(|suite| Self::Suite(distribution, suite));
        if text.starts_with(SCHEME) {
            return text.parse().map(Self::Registry);
        }
        match text.split_once(':') {
            Some(("debian", name)) => suite(Distribution::Debian, name),
            Some(("ubuntu", name)) => suite(Distribution::Ubuntu, name),
            Some(_) => Err(format!("{} is none of {FORMS}", quoted(text))),
            None if text == "host" => Ok(Self::Host),
            None if text == "scratch" => Ok(Self::Scratch),
            None => text.parse().map(Self::Image).map_err(|_| format!("{} is none of {FORMS}", quoted(text))),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => out.write_str("host"),
            Self::Scratch => out.write_str("scratch"),
            Self::Suite(distribution, suite) => write!(out, "{distribution}:{suite}"),
            Self::Image(name) => write!(out, "{name}"),
            Self::Registry(reference) => write!(out, "{reference}"),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
        })
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if begins_well && text.bytes().all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is not a suite: use a release's code name, for example bookworm", quoted(text)))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_read_and_written_back() {
        for text in ["debian:bookworm", "ubuntu:jammy", "host", "scratch", "my.image-2", "docker://localhost:5000/eg:1"]
        {
            assert_eq!(text.parse::<Base>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_invalid_base_is_refused_with_the_valid_forms() {
        for text in ["", "alpine:3", "a/b", "debian:bookworm:x", "-x", "a b", "docker://"] {
            assert!(text.parse::<Base>().is_err(), "{text:?}");
        }
        assert!("alpine:3".parse::<Base>().unwrap_err().contains(FORMS));
        for suite in ["", "../x", "-x", "Bookworm", "a b", "x/y"] {
            assert!(suite.parse::<Suite>().unwrap_err().contains("for example bookworm"), "{suite:?}");
        }
    }
}
