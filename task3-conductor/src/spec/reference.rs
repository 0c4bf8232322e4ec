//! References: what an image is called in a registry.

use std::fmt;
use std::str::FromStr;

use crate::output::escape::quoted;
use crate::spec::name::ImageName;

/// `[HOST[:PORT]/]NAME[:TAG]` or `…@DIGEST`; what is what, skopeo and the registry know. `docker://` may stand before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(String);

/// How one begins where other words may stand as well.
pub const SCHEME: &str = "docker://";
/// Longest: a registry's limit for names, with room for host and digest.
const LONGEST: usize = 512;

impl Reference {
    /// The reference without the scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an image of ours may be called after it.
    pub fn image_name(&self) -> Option<ImageName> {
        name_after(&self.0)
    }
}

/// What an image of ours may be called after a name of other tools: `localhost/web:latest` is `web`, `alpine:3.20` is `alpine-3.20`.
pub fn name_after(text: &str) -> Option<ImageName> {
    let text = text.split_once('@').map_or(text, |(name, _)| name);
    let last = text.rsplit('/').next().unwrap_or(text);
    let (name, tag) = last.split_once(':').unwrap_or((last, "latest"));
    let name = if tag == "latest" { name.to_owned() } else { format!("{name}-{tag}") };
    // A tag alone is the name of nothing.
    name.parse().ok().filter(|_| name != "latest")
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.strip_prefix(SCHEME).unwrap_or(text);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+[]".contains(&byte);
        let begins_well = plain.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
        if begins_well && plain.len() <= LONGEST && plain.bytes().all(is_part) {
            return Ok(Self(plain.to_owned()));
        }
        Err(format!(
            "{} is no image of a registry: write HOST/NAME:TAG, for example docker.io/library/alpine:3.20",
            quoted(text)
        ))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_and_gives_an_image_its_name() {
        let named = |text: &str| text.parse::<Reference>().unwrap().image_name().map(String::from);
        assert_eq!(named("docker://localhost:5000/lab/web:latest").as_deref(), Some("web"));
        assert_eq!(named("alpine:3.20").as_deref(), Some("alpine-3.20"));
        assert_eq!(named("host/web@sha256:00").as_deref(), Some("web"));
        assert_eq!("eg".parse::<Reference>().unwrap().to_string(), "docker://eg");
        for wrong in ["", "docker://", "-x", "a b", "a\nb", "oci:x y", &"x".repeat(600)] {
            assert!(wrong.parse::<Reference>().unwrap_err().contains("for example docker.io"), "{wrong:?}");
        }
    }
}
