//! Volumes: a file or folder of the host's that is seen in a container.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use nsutil::error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// `SOURCE:PLACE[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Path on the host, absolute.
    pub source: PathBuf,
    /// Path in the container, absolute and without `.` and `..`.
    pub place: PathBuf,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// In the order in which they are mounted, whatever order they were asked for in: a place before those below it.
///
/// # Errors
/// In words when two have the same place.
pub fn in_order(mut volumes: Vec<Volume>) -> Result<Vec<Volume>> {
    volumes.sort_by(|one, other| one.place.cmp(&other.place));
    for pair in volumes.windows(2) {
        if let [one, other] = pair {
            if one.place == other.place {
                let both = format!("{one} and {other}");
                return Err(Error::new("mount volumes", both, "they have the same place").hint("leave one of them out"));
            }
        }
    }
    Ok(volumes)
}

/// What conductor mounts itself.
const TAKEN: [&str; 3] = ["/proc", "/sys", "/dev"];

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{} is no volume: {why}; write SOURCE:PLACE or SOURCE:PLACE:ro, for example /srv/data:/data or ./src:/src:ro",
                quoted(text)
            ))
        };
        let (source, place, read_only) = match text.split(':').collect::<Vec<_>>().as_slice() {
            &[source, place] | &[source, place, "rw"] => (source, place, false),
            &[source, place, "ro"] => (source, place, true),
            &[_, _, _] => return wrong("after the second : only ro or rw can stand"),
            _ => return wrong("it takes one : between a path of the host and one of the container"),
        };
        if text.contains('\0') {
            return wrong("a path has no NUL in it");
        }
        // Docker's volumes that have a name and no path are not known here: it must be clear that a path is meant.
        if !["/", "./", "../"].iter().any(|start| source.starts_with(start)) && source != "." && source != ".." {
            return wrong("the host's path begins with /, ./ or ../");
        }
        let source = std::path::absolute(source).map_err(|error| format!("cannot find {source}: {error}"))?;
        let Some(place) = plain(Path::new(place)) else {
            return wrong("the container's path is absolute and has no .. in it");
        };
        if place == Path::new("/") {
            return wrong("it cannot take the place of the container's root");
        }
        if let Some(taken) = TAKEN.iter().find(|taken| place.starts_with(taken)) {
            return wrong(&format!("{taken} is the container's own"));
        }
        Ok(Self { source, place, read_only })
    }
}

/// An absolute path without `.`; none when it is relative or has a `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    let fine = |part: &Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    (path.is_absolute() && path.components().all(|part| fine(&part))).then(|| path.components().collect())
}

impl fmt::Display for Volume {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.read_only { ":ro" } else { "" };
        write!(out, "{}:{}{how}", self.source.display(), self.place.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_another_is_mounted_after_it_and_a_place_is_taken_once() {
        let places = |texts: &[&str]| {
            let volumes = texts.iter().map(|text| text.parse().unwrap()).collect();
            in_order(volumes).map(|volumes| volumes.into_iter().map(|volume| volume.place).collect::<Vec<_>>())
        };
        let ordered = places(&["/x:/data/sub/deep", "/x:/data-2", "/x:/data", "/x:/data/sub"]).unwrap();
        let at = |place: &str| ordered.iter().position(|it| it == Path::new(place)).unwrap();
        assert!(at("/data") < at("/data/sub") && at("/data/sub") < at("/data/sub/deep") && at("/data-2") < 4);
        let twice = nsutil::error::line(&places(&["/x:/a:ro", "/b:/c", "/y:/a"]).unwrap_err());
        assert_eq!(twice, "cannot mount volumes /x:/a:ro and /y:/a: they have the same place; leave one of them out");
    }

    #[test]
    fn a_volume_has_two_paths_and_may_be_read_only() {
        assert_eq!("/srv/data:/data".parse::<Volume>().unwrap().to_string(), "/srv/data:/data");
        assert_eq!("/a:/b/:ro".parse::<Volume>().unwrap().to_string(), "/a:/b:ro");
        assert_eq!("/a:/b/./c:rw".parse::<Volume>().unwrap().to_string(), "/a:/b/c");
        let here = std::env::current_dir().unwrap();
        assert_eq!("./src:/src".parse::<Volume>().unwrap().source, here.join("src"));
        assert_eq!(".:/src".parse::<Volume>().unwrap().source, here);
        assert!("/a:/devices".parse::<Volume>().is_ok(), "a name that only begins alike");
    }

    #[test]
    fn a_volume_that_is_half_said_or_hides_what_is_conductors_is_refused() {
        for wrong in [
            "",
            ":",
            "/etc",
            "/etc:",
            ":/x",
            "/a:/",
            "/a://",
            "/a:/.",
            "/a:/../..",
            "/a:/b/../..",
            "/a:b",
            "/a:./b",
            "/a:/proc",
            "/a:/proc/sys",
            "/a:/sys",
            "/a:/dev",
            "/a:/dev/shm",
            "/a:/./proc",
            "/a:/b:",
            "/a:/b:x",
            "/a:/b:RO",
            "/a:/b:ro:rw",
            "a:/b",
            "data:/data",
            "\0:/b",
        ] {
            let error = wrong.parse::<Volume>().unwrap_err();
            assert!(error.contains("for example /srv/data:/data"), "{wrong:?}: {error}");
        }
    }
}
