//! Checks whether a Debian mirror answers; without one, no Debian system can be built.
//!
//! Uses wget(1), as debootstrap(8) does: so the same proxies and name resolution apply.

use std::path::Path;
use std::process::{Command, Stdio};

use nsutil::error::{Error, Result};

/// The mirror if the tool's settings name none.
const USUAL: &str = "http://deb.debian.org/debian";
/// Every mirror has it; the release itself does not matter.
const ASKED_FOR: &str = "dists/stable/Release";

/// Asks the mirror that the tool in `folder` would use; does nothing if it needs none.
///
/// # Errors
/// When the mirror does not answer; the error names it.
pub fn answers(folder: &Path) -> Result<()> {
    let config = std::fs::read_to_string(folder.join("config.sh")).unwrap_or_default();
    let mirror = setting(&config, "MIRROR").unwrap_or_else(|| USUAL.to_owned());
    // Only what is written as DISTRIBUTION:SUITE is fetched.
    let is_fetched = setting(&config, "IMAGE_FROM").is_none_or(|from| from.contains(':'));
    if !is_fetched || mirror.starts_with("file:") {
        return Ok(());
    }
    let url = format!("{}/{ASKED_FOR}", mirror.trim_end_matches('/'));
    let mut wget = Command::new("wget");
    wget.args(["--quiet", "--spider", "--tries=1", "--timeout=5", &url]);
    wget.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let why = match wget.status() {
        // 8: the server answered with an error status, for example for another path. So it is up.
        Ok(status) if status.success() || status.code() == Some(8) => return Ok(()),
        Ok(_) => "no answer".to_owned(),
        Err(error) => format!("wget: {error}"),
    };
    Err(Error::new("reach", mirror, why))
}

/// The value of `NAME="…"`, if it has one.
fn setting(config: &str, name: &str) -> Option<String> {
    let mut values = config.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    let value = values.next_back()?.split('#').next()?.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_own_mirror_is_the_one_that_is_asked() {
        let mirror = |config: &str| setting(config, "MIRROR");
        assert_eq!(mirror("DEFAULT_IFC=\"\"\nMIRROR=\"http://m/debian\"\n").as_deref(), Some("http://m/debian"));
        assert_eq!(mirror("MIRROR='http://m' # ours").as_deref(), Some("http://m"));
        for nothing in ["", "MIRROR=\"\"", "# MIRROR=http://m", "MIRROR= # none", "MIRRORS=http://m"] {
            assert_eq!(mirror(nothing), None, "{nothing:?}");
        }
    }
}
