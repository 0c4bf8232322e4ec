//! Images from a registry: skopeo fetches, [`super::load`] checks and unpacks.
//!
//! Between a registry and a folder lie TLS, logins, mirrors, retries and three versions of a protocol: skopeo(1) knows them,
//! and reads the user's own settings for them (containers-registries.conf(5), containers-auth.json(5)). It is asked for
//! an image layout in a folder of our cache; what is in there is as little believed as any other.
//!
//! Look: `conductor --explain pull REF`. Manual: skopeo-copy(1); the OCI's distribution-spec.

use std::convert::Infallible;
use std::env;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::{self, Exit, SpawnOptions, TerminationSignals, spawn};
use nsutil::rooted::remove_tree;
use nsutil::step;

use super::architecture;
use super::layout::Layout;
use super::load::{Loaded, load};
use super::watch::Watch;
use crate::image::interrupt;
use crate::image::layer::{Key, Layers, Outcome};
use crate::image::layer_steps::Settings;
use crate::image::progress::{Amount, Progress};
use crate::output::escape::without_control_characters;
use crate::spec::name::ImageName;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::lock::{Lock, make_folder};
use crate::store::record::ImageRecord;

/// Whose certificate a registry must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// What containers-registries.conf(5) says; usually one that this host trusts.
    #[default]
    Usual,
    /// Anybody's, or none at all: plain HTTP.
    Nobodys,
}

/// Where programs are when `PATH` is not set.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Bytes of skopeo's words that are kept.
const MOST_WORDS: usize = 64 << 10;

/// Fetches an image, unpacks what is not there of it, and remembers it as `FROM`'s answer.
///
/// # Errors
/// In words when skopeo is missing, or with its own words when it fails; those of [`load`].
pub fn pull(
    store: &Store,
    layers: &Layers,
    reference: &Reference,
    trust: Trust,
    progress: &mut Progress,
) -> Result<Loaded> {
    let loaded = interrupt::with_signals_blocked(|requests| {
        let folder = Folder::new(store)?;
        fetch(reference, trust, &folder.path, requests, progress)?;
        let layout = Layout::open(&folder.path.join(LAYOUT))?;
        load(store, layers, &layout, None, &Watch::new(requests), progress)
            .map_err(|error| Error::new("use", reference, error))
    })?;
    remember(store, reference, &loaded)?;
    Ok(loaded)
}

/// The base that `FROM docker://REF` names: as it was pulled before, or pulled now.
///
/// # Errors
/// Those of [`pull`].
pub fn base(store: &Store, layers: &Layers, reference: &Reference) -> Result<Loaded> {
    let mut progress = Progress::on_stderr();
    progress.begin(&format!("FROM {reference}"));
    let loaded = match remembered(store, layers, reference) {
        Some(loaded) => loaded,
        None => pull(store, layers, reference, Trust::Usual, &mut progress)?,
    };
    progress.end(loaded.outcome);
    Ok(loaded)
}

/// The folder of what a reference led to.
fn memory(store: &Store, reference: &Reference) -> PathBuf {
    store.pulled_dir().join(Key::of("pulled").with(reference.as_str()).id().to_string())
}

fn remember(store: &Store, reference: &Reference, loaded: &Loaded) -> Result<()> {
    // The name is nobody's: it is a record among others of its kind.
    let name: ImageName = "pulled".parse().or_cannot("name", reference)?;
    let folder = memory(store, reference);
    make_folder(&store.pulled_dir())?;
    make_folder(&folder)?;
    record(name, reference.to_string(), loaded).save(&folder)
}

fn remembered(store: &Store, layers: &Layers, reference: &Reference) -> Option<Loaded> {
    let record = ImageRecord::load(&memory(store, reference)).ok()?;
    let ImageRecord { layers: stack, created, command, environment, working_directory, user, .. } = record;
    let settings = Settings { command, environment, working_directory, user };
    let is_whole = stack.iter().all(|layer| layers.has(layer));
    is_whole.then_some(Loaded { name: None, layers: stack, settings, created, outcome: Outcome::Cached })
}

/// The record of an image that was loaded.
pub fn record(name: ImageName, from: String, loaded: &Loaded) -> ImageRecord {
    let Settings { command, environment, working_directory, user } = loaded.settings.clone();
    let (layers, created) = (loaded.layers.clone(), loaded.created);
    ImageRecord { name, from, layers, created, command, environment, working_directory, user }
}

/// Where skopeo writes to, in the folder of a pull.
const LAYOUT: &str = "layout";

/// A folder for what is fetched, where layers are made: removed when dropped, and by the next command if we are killed.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _held: Lock,
}

impl Folder {
    fn new(store: &Store) -> Result<Self> {
        let path = store.cache_dir().join("building").join(format!("pull.{}", std::process::id()));
        let held = Lock::new_folder(&path)?;
        Ok(Self { path, _held: held })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next command.
        let _ = remove_tree(&self.path);
    }
}

fn fetch(
    reference: &Reference,
    trust: Trust,
    folder: &Path,
    requests: &mut TerminationSignals,
    progress: &mut Progress,
) -> Result<()> {
    let program = find_program()?;
    let verify = format!("--src-tls-verify={}", trust == Trust::Usual);
    let (from, to) = (reference.to_string(), format!("oci:{}:image", folder.join(LAYOUT).display()));
    let mut words = vec!["skopeo", "--override-os", "linux", "--override-arch", architecture(), "copy"];
    if trust == Trust::Nobodys {
        words.push(&verify);
    }
    words.extend([from.as_str(), to.as_str()]);
    step!("oci.fetch", call: "clone3(); execve(\"{}\")", program.display();
        why: "registries, logins and TLS are its trade; what it writes is checked before it is used";
        shell: "{}", words.join(" "));
    progress.step("Fetching", reference.as_str(), Amount::Count { now: 0, of: 1 });
    let (said, exit) = run(&program, &words, requests, progress)?;
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let failed = Error::new("pull", reference, last_words(&said));
    Err(match said.as_str() {
        said if said.contains("server gave HTTP response to HTTPS client") || said.contains("x509:") => {
            failed.hint("--insecure takes a registry without TLS, or with a certificate that nobody vouches for")
        }
        said if said.contains("no image found in") || said.contains("no image found for") => {
            failed.hint(format_args!("it has no image for linux/{}", architecture()))
        }
        said if said.contains("policy.json") => failed.hint("apt install golang-github-containers-common"),
        _ => failed,
    })
}

fn find_program() -> Result<PathBuf> {
    let path = env::var("PATH").unwrap_or_else(|_| USUAL_PATH.to_owned());
    let mut places =
        path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join("skopeo"));
    places.find(|place| place.is_file()).ok_or_else(|| {
        let missing = Error::new("find", "skopeo", "it fetches images from registries, and is not installed");
        missing.hint("apt install skopeo")
    })
}

/// Runs it to the end; returns what it said.
fn run(
    program: &Path,
    words: &[&str],
    requests: &mut TerminationSignals,
    progress: &mut Progress,
) -> Result<(String, Exit)> {
    let (mut reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map(|(read, write)| (File::from(read), File::from(write)))
        .or_cannot("make", "a pipe for skopeo")?;
    // When we are killed it is killed too; and when the child is dropped.
    let child = spawn(SpawnOptions::default(), |_| match become_skopeo(program, words, &writer)? {})?;
    // Ours would keep the pipe open after its end.
    drop(writer);
    let mut said = String::new();
    let mut blobs = 0;
    loop {
        let mut ends =
            [PollFd::new(requests.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ends, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            outcome => outcome.or_cannot("wait for", "skopeo")?,
        };
        if ends[0].any().unwrap_or(false) {
            if let Some(signal) = requests.take()? {
                let _ = requests.raise_again(signal);
                return Err(Error::new("wait for", "skopeo", format!("{signal} interrupted it")));
            }
        }
        let mut bytes = [0; 4096];
        let length = reader.read(&mut bytes).or_cannot("read", "what skopeo says")?;
        if length == 0 {
            break;
        }
        if said.len() < MOST_WORDS {
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        let seen = said.matches("Copying blob").count() as u64;
        if seen > blobs {
            blobs = seen;
            progress.step("Fetching layers", "", Amount::Count { now: seen - 1, of: seen });
        }
    }
    Ok((said, child.wait()?))
}

/// In the child: skopeo with the caller's surroundings, its settings among them, and nothing to read.
fn become_skopeo(program: &Path, words: &[&str], output: &File) -> Result<Infallible> {
    let null = File::open("/dev/null").or_cannot("open", "/dev/null")?;
    dup2_stdin(&null).or_cannot("set", "stdin")?;
    dup2_stdout(output).or_cannot("set", "stdout")?;
    dup2_stderr(output).or_cannot("set", "stderr")?;
    let environment: Vec<String> =
        env::vars_os().filter_map(|(key, value)| Some(format!("{}={}", key.to_str()?, value.to_str()?))).collect();
    let environment: Vec<&str> = environment.iter().map(String::as_str).collect();
    process::exec(program, words, &environment)
}

/// Its error, which it prints last: `time="…" level=fatal msg="…"`.
fn last_words(said: &str) -> String {
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    let message = last.split_once("msg=\"").map(|(_, message)| message.trim_end_matches('"').replace("\\\"", "\""));
    format!("skopeo: {}", without_control_characters(&message.unwrap_or_else(|| last.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_taken_out_of_the_log_line() {
        let said = "Getting image source signatures\ntime=\"2026-01-01T00:00:00Z\" level=fatal msg=\"reading manifest \\\"x\\\": unknown\"\n";
        assert_eq!(last_words(said), "skopeo: reading manifest \"x\": unknown");
        assert_eq!(last_words("boom"), "skopeo: boom");
        assert_eq!(last_words(""), "skopeo: it said nothing");
    }
}
