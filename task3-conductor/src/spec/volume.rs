//! Volumes: files and folders of the host, or file systems in memory, mounted in a container.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use nsutil::error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;
use crate::spec::resources::bytes;

/// `SOURCE:PLACE[:ro]`, or what [`Tmpfs`] and [`SharedMemory`] say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// What is mounted.
    pub source: VolumeSource,
    /// Path in the container, absolute and without `.` and `..`.
    pub place: PathBuf,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// Source of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VolumeSource {
    /// A path on the host, absolute.
    Host(PathBuf),
    /// A tmpfs, empty at first and gone with the container. See tmpfs(5).
    Memory {
        /// Its size; none is the kernel's default, half of the memory.
        size_bytes: Option<u64>,
        /// Whether programs in it can be executed.
        executable: bool,
    },
}

/// `--tmpfs PLACE[:size=SIZE,exec]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs(pub Volume);

/// `--shm-size SIZE`: the size of [`SHARED_MEMORY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory(pub Volume);

/// Directory of POSIX shared memory. See shm_overview(7).
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Sorts volumes in mount order: parents before those below them.
///
/// # Errors
/// In words when two have the same target.
pub fn in_mount_order(mut volumes: Vec<Volume>) -> Result<Vec<Volume>> {
    volumes.sort_by(|one, other| one.place.cmp(&other.place));
    for pair in volumes.windows(2) {
        if let [one, other] = pair {
            if one.place == other.place {
                let both = format!("{one} and {other}");
                return Err(
                    Error::new("mount volumes", both, "they have the same target").hint("leave one of them out")
                );
            }
        }
    }
    Ok(volumes)
}

/// Paths where conductor mounts something itself.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{} is not a volume: {why}; write SOURCE:PLACE or SOURCE:PLACE:ro, for example /srv/data:/data or ./src:/src:ro",
                quoted(text)
            ))
        };
        let (source, place, read_only) = match text.split(':').collect::<Vec<_>>().as_slice() {
            &[source, place] | &[source, place, "rw"] => (source, place, false),
            &[source, place, "ro"] => (source, place, true),
            &[_, _, _] => return wrong("only ro or rw may follow the second colon"),
            _ => return wrong("a colon has to separate a path of the host from one of the container"),
        };
        if text.contains('\0') {
            return wrong("a path must not contain a NUL byte");
        }
        // Named volumes of Docker are not supported: require an unambiguous path.
        if !["/", "./", "../"].iter().any(|start| source.starts_with(start)) && source != "." && source != ".." {
            return wrong("the host's path has to begin with /, ./ or ../");
        }
        let source = std::path::absolute(source).map_err(|error| format!("cannot find {source}: {error}"))?;
        let Some(place) = normalized(Path::new(place)) else {
            return wrong("the container's path is absolute and has no .. in it");
        };
        if place == Path::new("/") {
            return wrong("it cannot replace the container's root");
        }
        if let Some(taken) = RESERVED.iter().find(|taken| place.starts_with(taken)) {
            return wrong(&format!("{taken} is mounted by conductor"));
        }
        Ok(Self { source: VolumeSource::Host(source), place, read_only })
    }
}

impl FromStr for Tmpfs {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{} is not a path for a tmpfs: {why}; write PLACE or PLACE:size=SIZE, for example /tmp or /tmp:size=64m",
                quoted(text)
            )
        };
        let (place, options) = text.split_once(':').map_or((text, None), |(place, options)| (place, Some(options)));
        let place = normalized(Path::new(place)).filter(|_| !text.contains('\0'));
        let place = place.ok_or_else(|| wrong("the container's path is absolute and has no .. in it"))?;
        if place == Path::new("/") {
            return Err(wrong("it cannot replace the container's root"));
        }
        let taken = RESERVED.iter().find(|taken| place.starts_with(taken) && place != Path::new(SHARED_MEMORY));
        if let Some(taken) = taken {
            return Err(wrong(&format!("{taken} is mounted by conductor")));
        }
        let (mut size_bytes, mut executable) = (None, false);
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            match option.split_once('=') {
                Some(("size", size)) => {
                    let size = tmpfs_size(size);
                    size_bytes = Some(size.ok_or_else(|| wrong("a size is a number and k, m or g, at least 4k"))?);
                }
                None if option == "exec" => executable = true,
                _ => return Err(wrong("after the colon size=SIZE and exec are allowed, separated by a comma")),
            }
        }
        Ok(Self(Volume { source: VolumeSource::Memory { size_bytes, executable }, place, read_only: false }))
    }
}

impl FromStr for SharedMemory {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let size = tmpfs_size(text).ok_or_else(|| {
            format!(
                "{} is not a size for {SHARED_MEMORY}: use a number and k, m or g, at least 4k, for example 256m",
                quoted(text)
            )
        })?;
        let source = VolumeSource::Memory { size_bytes: Some(size), executable: false };
        Ok(Self(Volume { source, place: PathBuf::from(SHARED_MEMORY), read_only: false }))
    }
}

/// To the kernel 0 would mean no limit.
fn tmpfs_size(text: &str) -> Option<u64> {
    bytes(text).filter(|size| (MIN_TMPFS_BYTES..=MAX_TMPFS_BYTES).contains(size))
}

const MIN_TMPFS_BYTES: u64 = 4 << 10;
/// Beyond that the kernel's page counters end.
const MAX_TMPFS_BYTES: u64 = 1 << 60;

/// An absolute path without `.`; none if it is relative or contains `..`.
fn normalized(path: &Path) -> Option<PathBuf> {
    let fine = |part: &Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    (path.is_absolute() && path.components().all(|part| fine(&part))).then(|| path.components().collect())
}

impl fmt::Display for Volume {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.read_only { ":ro" } else { "" };
        write!(out, "{}:{}{how}", self.source, self.place.display())
    }
}

impl fmt::Display for VolumeSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(path) => path.display().fmt(out),
            Self::Memory { .. } => out.write_str("tmpfs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_volumes_are_mounted_after_their_parents_and_duplicates_are_refused() {
        let places = |texts: &[&str]| {
            let volumes = texts.iter().map(|text| text.parse().unwrap()).collect();
            in_mount_order(volumes).map(|volumes| volumes.into_iter().map(|volume| volume.place).collect::<Vec<_>>())
        };
        let ordered = places(&["/x:/data/sub/deep", "/x:/data-2", "/x:/data", "/x:/data/sub"]).unwrap();
        let at = |place: &str| ordered.iter().position(|it| it == Path::new(place)).unwrap();
        assert!(at("/data") < at("/data/sub") && at("/data/sub") < at("/data/sub/deep") && at("/data-2") < 4);
        let twice = nsutil::error::line(&places(&["/x:/a:ro", "/b:/c", "/y:/a"]).unwrap_err());
        assert_eq!(twice, "cannot mount volumes /x:/a:ro and /y:/a: they have the same target; leave one of them out");
    }

    #[test]
    fn a_volume_has_two_paths_and_may_be_read_only() {
        assert_eq!("/srv/data:/data".parse::<Volume>().unwrap().to_string(), "/srv/data:/data");
        assert_eq!("/a:/b/:ro".parse::<Volume>().unwrap().to_string(), "/a:/b:ro");
        assert_eq!("/a:/b/./c:rw".parse::<Volume>().unwrap().to_string(), "/a:/b/c");
        let here = std::env::current_dir().unwrap();
        assert_eq!("./src:/src".parse::<Volume>().unwrap().source, VolumeSource::Host(here.join("src")));
        assert_eq!(".:/src".parse::<Volume>().unwrap().source, VolumeSource::Host(here));
        assert!("/a:/devices".parse::<Volume>().is_ok(), "a name that only begins alike");
    }

    #[test]
    fn a_tmpfs_has_an_optional_size_and_its_own_path() {
        let memory = |text: &str| match text.parse::<Tmpfs>().unwrap().0 {
            Volume { source: VolumeSource::Memory { size_bytes, executable }, place, .. } => {
                (place, size_bytes, executable)
            }
            other => panic!("{other}"),
        };
        assert_eq!(memory("/tmp"), ("/tmp".into(), None, false));
        assert_eq!(memory("/a/./b/:size=64m"), ("/a/b".into(), Some(64 << 20), false));
        assert_eq!(memory("/dev/shm:exec,size=4k"), ("/dev/shm".into(), Some(4096), true));
        for wrong in [
            "",
            "/",
            "tmp",
            "/a/..",
            "/proc/x",
            "/dev",
            "/dev/shm/x",
            "/sys",
            "/tmp:",
            "/tmp:size",
            "/tmp:size=",
            "/tmp:size=0",
            "/tmp:size=-1",
            "/tmp:size=50%",
            "/tmp:rw",
            "/tmp:size=1m,,exec",
            "/tmp:size=1m:ro",
            "/t\0",
        ] {
            let error = wrong.parse::<Tmpfs>().unwrap_err();
            assert!(error.contains("for example /tmp or /tmp:size=64m"), "{wrong:?}: {error}");
        }
        for wrong in ["", "0", "-1", "1", "x", "1e9", "99999999t"] {
            assert!(wrong.parse::<SharedMemory>().unwrap_err().contains("for example 256m"), "{wrong:?}");
        }
        let both = ["/dev/shm".parse::<Tmpfs>().unwrap().0, "1g".parse::<SharedMemory>().unwrap().0];
        let twice = nsutil::error::line(&in_mount_order(both.to_vec()).unwrap_err());
        assert!(twice.contains("tmpfs:/dev/shm and tmpfs:/dev/shm: they have the same target"), "{twice}");
        let text = serde_json::to_string(&both[1]).unwrap();
        assert_eq!(serde_json::from_str::<Volume>(&text).unwrap(), both[1], "{text}");
        let older = r#"{"source":"/srv","place":"/x","read_only":true}"#;
        assert_eq!(serde_json::from_str::<Volume>(older).unwrap(), "/srv:/x:ro".parse().unwrap());
    }

    #[test]
    fn an_incomplete_volume_or_a_reserved_path_is_refused() {
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
