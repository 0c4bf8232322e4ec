//! Records: configuration as JSON, in the folder of an image or container.
//!
//! Only what the kernel does not know is recorded: the image, the command, the creation time, and the identity of the
//! first process (its PID with start time and boot ID, since a PID alone can be reused). A record is written to a
//! temporary file and renamed, so a reader sees the old one or the new one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use nsutil::step;
use procfs::ProcError;
use procfs::process::Stat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::spec::confinement::Confinement;
use crate::spec::name::{ContainerName, ImageName};
use crate::spec::resources::ResourceLimits;
use crate::spec::user::User;
use crate::spec::volume::Volume;
use crate::store::layer_id::LayerId;

/// Version of the format; a larger one was written by a newer conductor.
const SCHEMA: u32 = 1;
/// Name of the file in the folder of what it describes.
pub const FILE: &str = "record.json";

/// An image: read-only layers, and what a container of it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its name.
    pub name: ImageName,
    /// What its Conductorfile began with, such as `debian:bookworm`.
    pub from: String,
    /// Its layers, topmost first, as overlay needs them; [`crate::store::Store::layer_root`] has their folders.
    pub layers: Vec<LayerId>,
    /// Seconds since 1970 at which it was built.
    pub created: i64,
    /// What to run when nothing is said; empty is `/bin/bash`.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment of every container of it.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where a container's command starts; `/` when nothing is said.
    #[serde(default)]
    pub working_directory: Option<String>,
    /// Who a container's processes run as; none is root.
    #[serde(default)]
    pub user: Option<User>,
}

/// A container: what it was made of and for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its name.
    pub name: ContainerName,
    /// The image it was made from.
    pub image: ImageName,
    /// That image's layers, the topmost first: they must stay as long as the container does.
    pub layers: Vec<LayerId>,
    /// Seconds since 1970 at which it was started.
    pub created: i64,
    /// Its command.
    pub command: Vec<String>,
    /// Its environment, the same for `run` and `exec`.
    pub environment: BTreeMap<String, String>,
    /// Where a command in it starts.
    pub working_directory: String,
    /// Its own host name; none is the host's.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Remove everything when its first process ends.
    #[serde(default)]
    pub remove_at_end: bool,
    /// Who its processes run as; none is root.
    #[serde(default)]
    pub user: Option<User>,
    /// How much they are kept from.
    #[serde(default)]
    pub confinement: Confinement,
    /// Whether its process 1 is a reaper.
    #[serde(default)]
    pub has_reaper: bool,
    /// What they may use together.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// What of the host's files is seen in it.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Whether its root cannot be written to.
    #[serde(default)]
    pub read_only: bool,
    /// Its first process.
    pub init: ProcessIdentity,
}

/// Identity of a process: PID, start time, and boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process number on the host.
    pub pid: i32,
    /// Clock ticks after boot at which it started (`starttime` in proc_pid_stat(5)).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl ImageRecord {
    /// Reads the record in an image's folder.
    ///
    /// # Errors
    /// When it is missing, damaged, or from a newer version.
    pub fn load(dir: &Path) -> Result<Self> {
        load(dir)
    }

    /// Writes the record into an image's folder, whole or not at all.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS` … with the path.
    pub fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir)
    }
}

impl ContainerRecord {
    /// Reads the record in a container's folder.
    ///
    /// # Errors
    /// When it is missing, damaged, or from a newer version.
    pub fn load(dir: &Path) -> Result<Self> {
        load(dir)
    }

    /// Writes the record into a container's folder, whole or not at all.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS` … with the path.
    pub fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir)
    }

    /// A descriptor of the first process, or none when it has ended. Asked of the kernel each time.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn running(&self) -> Result<Option<PidFd>> {
        self.init.open()
    }
}

impl ProcessIdentity {
    /// The identity of a living process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = stat(pid).and_then(|stat| stat.ok_or_else(|| Errno::ESRCH.desc().to_owned()));
        let stat = stat.or_cannot("look at", format_args!("process {pid}"))?;
        Ok(Self { pid, start_time: stat.starttime, boot_id: boot_id()? })
    }

    /// Whether it belongs to the current boot.
    pub fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|now| now == self.boot_id)
    }

    /// A pidfd of this process, or none if it has exited, even if its PID was reused.
    ///
    /// # Errors
    /// When /proc cannot be read; `EMFILE`, `ENOMEM` …: a process that cannot be asked after has not ended.
    pub fn open(&self) -> Result<Option<PidFd>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        let process = match PidFd::open(nix::unistd::Pid::from_raw(self.pid)) {
            Ok(process) => process,
            // The PID is unused, or belongs to a thread: a later one.
            Err(error) if matches!(error.errno(), Some(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Read after opening: if the start time matches, the pidfd refers to the right process.
        let look = stat(self.pid).or_cannot("look at", format_args!("process {}", self.pid))?;
        let is_it = look.is_some_and(|stat| stat.starttime == self.start_time);
        // Not the state in /proc: that is of the main thread, which others may outlive.
        Ok(if is_it && !process.has_ended()? { Some(process) } else { None })
    }
}

/// What /proc says of a process; none when there is none.
fn stat(pid: i32) -> std::result::Result<Option<Stat>, String> {
    match procfs::process::Process::new(pid).and_then(|process| process.stat()) {
        Ok(stat) => Ok(Some(stat)),
        Err(ProcError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).or_cannot("read", path).map(|text| text.trim_end().to_owned())
}

/// What every record's file looks like.
#[derive(Serialize, Deserialize)]
struct File<R> {
    schema: u32,
    #[serde(flatten)]
    record: R,
}

/// Only the version, to distinguish newer files from damaged ones.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Reads a record of any kind.
///
/// # Errors
/// When the file is missing, damaged, or from a newer version.
pub fn load<R: DeserializeOwned>(dir: &Path) -> Result<R> {
    load_from(&dir.join(FILE))
}

/// Reads a record of any kind from a file of its own name.
///
/// # Errors
/// When the file is missing, damaged, or from a newer version.
pub fn load_from<R: DeserializeOwned>(path: &Path) -> Result<R> {
    let text = fs::read(path).or_cannot("read", path.display())?;
    read(path.display(), &text)
}

/// Understands a record of any kind; `shown` is what errors call it.
///
/// # Errors
/// When it is damaged, or from a newer version.
pub fn read<R: DeserializeOwned>(shown: impl Display, text: &[u8]) -> Result<R> {
    let damaged = |error: serde_json::Error| Error::new("understand", &shown, error.to_string());
    let version: Version = serde_json::from_slice(text).map_err(damaged)?;
    if version.schema > SCHEMA {
        let newer = format!("it has version {}, this conductor knows up to {SCHEMA}", version.schema);
        return Err(Error::new("understand", &shown, newer).hint("use the newer conductor that wrote it"));
    }
    serde_json::from_slice::<File<R>>(text).map(|file| file.record).map_err(damaged)
}

/// Writes a record of any kind: beside its place first, then renamed.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn save<R: Serialize>(record: &R, dir: &Path) -> Result<()> {
    save_to(record, &dir.join(FILE))
}

/// Writes a record of any kind to a file of its own name: beside its place first, then renamed.
///
/// # Errors
/// `ENOSPC`, `EROFS` … with the path.
pub fn save_to<R: Serialize>(record: &R, path: &Path) -> Result<()> {
    let beside = path.with_extension("new");
    let text = serde_json::to_vec_pretty(&File { schema: SCHEMA, record }).map_err(|error| error.to_string());
    let text = text.or_cannot("put into words", path.display())?;
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::new("replace", beside.display(), error));
        }
        _ => (),
    }
    step!("record", call: "write(\"{}\"); rename(\"{}\", \"{}\")", beside.display(), beside.display(), path.display();
        why: "a reader finds the old record or the new one, and never half of one";
        shell: "mv {} {}", beside.display(), path.display());
    // O_EXCL: never through a planted link.
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    file.and_then(|mut file| file.write_all(&text))
        .and_then(|()| fs::rename(&beside, path))
        .or_cannot("write", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageRecord {
        ImageRecord {
            name: "eg".parse().unwrap(),
            from: "host".to_owned(),
            layers: vec!["0123456789abcdef0123456789abcdef".parse().unwrap()],
            created: 0,
            command: vec![],
            environment: BTreeMap::new(),
            working_directory: None,
            user: None,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_saved_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        image().save(dir.path()).unwrap();
        image().save(dir.path()).unwrap();
        assert_eq!(ImageRecord::load(dir.path()).unwrap(), image());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn damaged_and_newer_records_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"schema\": 1, \"name\": \"eg\"").unwrap();
        let damaged = nsutil::error::line(&ImageRecord::load(dir.path()).unwrap_err());
        assert!(damaged.contains("cannot understand ") && damaged.contains("EOF"), "{damaged}");
        fs::write(dir.path().join(FILE), "{\"schema\": 99, \"shape\": \"unknown\"}").unwrap();
        let newer = nsutil::error::line(&ImageRecord::load(dir.path()).unwrap_err());
        assert!(newer.contains("it has version 99, this conductor knows up to 1"), "{newer}");
    }

    #[test]
    fn a_process_is_the_same_only_with_its_start_time_and_boot() {
        let me = ProcessIdentity::of(std::process::id() as i32).unwrap();
        assert!(me.open().unwrap().is_some());
        let earlier = ProcessIdentity { start_time: me.start_time - 1, ..me.clone() };
        assert!(earlier.open().unwrap().is_none(), "another process of that number");
        let last_boot = ProcessIdentity { boot_id: "another".to_owned(), ..me };
        assert!(last_boot.open().unwrap().is_none(), "numbers of an earlier boot mean nobody");
    }
}
