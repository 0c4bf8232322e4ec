//! `FROM debian:SUITE`: builds a base layer with debootstrap(8), the tool of Debian's installer.
//!
//! It downloads the packages of a minimal system, checks their signatures, unpacks them, and configures them with dpkg
//! under chroot(8). It mounts /proc there and, if killed, leaves that and its children behind. So it runs as process 1
//! in its own mount and PID namespace: when it exits, the kernel kills its children and removes its mounts.
//!
//! Downloaded packages stay in `.cache/packages`, so an interrupted build can continue. A download takes minutes, so
//! its progress is shown: debootstrap reports it for Debian's installer (`--debian-installer`) on descriptor 3, in
//! lines of the form `KIND: text` (see [`ProgressParser`]). Its ordinary output has no counts, and its error names
//! (`NOGETREL` …) exist only there; hints are chosen by them.
//!
//! Look: `conductor build --explain eg`, `tail -f .cache/building/*/log`. Manual: debootstrap(8), pid_namespaces(7).

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::{Mount, make_all_private};
use nsutil::namespace::Kind;
use nsutil::process::{self, Exit, SpawnOptions, TerminationSignals, spawn};

use super::base::{Distribution, Suite};
use super::interrupt;
use super::layer::{Draft, Key};
use super::progress::{Amount, Progress};
use crate::store::lock::make_folder;

/// A base system to build.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    /// Whose packages.
    pub distribution: Distribution,
    /// Which release.
    pub suite: &'a Suite,
    /// Where from.
    pub mirror: &'a str,
    /// Where fetched packages are kept, a folder for each distribution.
    pub packages: &'a Path,
}

/// Included in Debian's default selection; listed because the course's image needs them.
const INCLUDED: &str = "iproute2,iputils-ping,procps";
const SCRIPTS: &str = "/usr/share/debootstrap/scripts";
/// Version of our post-processing; part of the cache key.
const RECIPE: &str = "1";
/// Shell code that connects descriptor 3; program and arguments are passed as `$0` and `$@`.
const WITH_DESCRIPTOR_3: &str = "exec \"$0\" \"$@\" 3>&1 1>&2";
/// Proxy settings of the user.
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
/// Its warning that a package could not be downloaded.
const DOWNLOAD_FAILED: &str = "COULDNTDL";
/// Settings for wget(1), appended to the user's. By default it tries twenty times with growing delays.
const WGETRC: &str = "\ntries = 3\ntimeout = 20\n";
/// Lines of its log that an error shows.
const LAST_LINES: usize = 6;

impl Distribution {
    /// Default mirror.
    pub fn usual_mirror(self) -> &'static str {
        match self {
            Self::Debian => "http://deb.debian.org/debian",
            Self::Ubuntu => "http://archive.ubuntu.com/ubuntu",
        }
    }

    /// Keyring of its releases, and the package that contains it.
    fn keyring(self) -> (&'static str, &'static str) {
        match self {
            Self::Debian => ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
            Self::Ubuntu => ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring"),
        }
    }
}

impl Bootstrap<'_> {
    /// What the layer is made from.
    pub fn key(&self) -> Key {
        let Self { distribution, suite, mirror, .. } = self;
        [&distribution.to_string(), &suite.to_string(), *mirror, INCLUDED].iter().fold(Key::of(RECIPE), Key::with)
    }

    /// Builds the layer.
    ///
    /// # Errors
    /// In words when debootstrap, its keyring or its script for the suite is missing, or when it fails: then with its
    /// own last lines; when the user interrupts it.
    pub fn fill(&self, draft: &Draft, progress: &mut Progress) -> Result<()> {
        let program = find_program()?;
        self.check_suite()?;
        let (keyring, package) = self.distribution.keyring();
        if !Path::new(keyring).exists() {
            let missing = Error::new("check the signatures of", self.distribution, format!("there is no {keyring}"));
            return Err(missing.hint(format_args!("apt install {package}")));
        }
        let packages = self.packages.join(self.distribution.to_string());
        for folder in [self.packages, &packages] {
            make_folder(folder)?;
        }
        let arguments = [
            "--debian-installer",
            "--force-check-gpg",
            &format!("--keyring={keyring}"),
            &format!("--cache-dir={}", packages.display()),
            &format!("--include={INCLUDED}"),
            &self.suite.to_string(),
            &draft.root().display().to_string(),
            self.mirror,
        ]
        .map(str::to_owned);
        let (log, wgetrc) = (draft.log(), draft.work().join("wgetrc"));
        fs::write(&wgetrc, users_wgetrc() + WGETRC).or_cannot("write", wgetrc.display())?;
        let end = run(&program, &arguments, [&log, &wgetrc], progress)?;
        if let Some(failure) = end {
            return Err(self.explain(&failure, &log));
        }
        remove_host_files(&draft.root())
    }

    fn check_suite(&self) -> Result<()> {
        let name = self.suite.to_string();
        if Path::new(SCRIPTS).join(&name).exists() {
            return Ok(());
        }
        let unknown =
            Error::new("build from", format_args!("{}:{name}", self.distribution), "debootstrap knows no such suite");
        let known: Vec<String> = fs::read_dir(SCRIPTS)
            .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        let closest = known.iter().map(|known| (strsim::damerau_levenshtein(known, &name), known)).min();
        Err(match closest {
            Some((distance, closest)) if distance <= 2 => unknown.hint(format_args!("did you mean {closest}?")),
            _ => unknown.hint(format_args!("`ls {SCRIPTS}` lists those it knows, bookworm and trixie among them")),
        })
    }

    /// Creates an error from debootstrap's message, with a hint.
    fn explain(&self, failure: &DebootstrapError, log: &Path) -> Error {
        let said = failure.message.clone().unwrap_or_else(|| format!("it ended with code {}", failure.exit.code()));
        let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        let last: String = last.iter().map(|line| format!("\n  debootstrap: {line}")).collect();
        let place = format!("{}:{}", self.distribution, self.suite);
        // The hint is on a line of its own if there are several.
        let end = if last.is_empty() { "" } else { "\n " };
        let error = Error::new("build from", place, format!("{said}{last}{end}"));
        let mirror = self.mirror;
        match failure.name.as_str() {
            "NOGETREL" | "INVALIDREL" | "MISSINGRELENTRY" | "WRONGSUITE" => error.hint(format_args!(
                "has {mirror} this suite, and is it reachable from here? Try `wget {mirror}/dists/{}/Release`",
                self.suite
            )),
            "COULDNTDL" | "COULDNTDLPKGS" | "LEFTOVERDEBS" => {
                error.hint(format_args!("run the same command again: what was fetched from {mirror} is kept"))
            }
            "BADRELSIG" | "NOGETRELSIG" | "SIGCHECK" | "UNKNOWNRELSIG" => {
                let (_, package) = self.distribution.keyring();
                error.hint(format_args!(
                    "the release may be signed by a newer key: apt install {package}; or the clock is wrong"
                ))
            }
            "NEEDWGET" => error.hint("apt install wget"),
            "NEEDGPGV" => error.hint("apt install gpgv"),
            _ => error,
        }
    }
}

/// A failure of debootstrap.
#[derive(Debug)]
struct DebootstrapError {
    exit: Exit,
    /// Its own name for what went wrong, such as `NOGETREL`.
    name: String,
    message: Option<String>,
}

/// Runs it to the end; none is success.
fn run(
    program: &Path,
    arguments: &[String],
    [log, wgetrc]: [&Path; 2],
    progress: &mut Progress,
) -> Result<Option<DebootstrapError>> {
    interrupt::with_signals_blocked(|signals| {
        let (mut reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(read, write)| (File::from(read), File::from(write)))
            .or_cannot("make", "a pipe for debootstrap's progress")?;
        let log_file = File::create(log).or_cannot("write", log.display())?;
        let birth = SpawnOptions { namespaces: &[Kind::Mount, Kind::Pid], ..SpawnOptions::default() };
        let child = spawn(birth, |_| {
            let null = File::open("/dev/null").or_cannot("open", "/dev/null")?;
            dup2_stdin(&null).or_cannot("set", "stdin")?;
            dup2_stdout(&writer).or_cannot("set", "stdout")?;
            dup2_stderr(&log_file).or_cannot("set", "stderr")?;
            match become_debootstrap(program, arguments, wgetrc)? {}
        })?;
        // Our copy would keep the pipe open after it exits.
        drop(writer);
        let mut parser = ProgressParser::default();
        let mut bytes = Vec::new();
        loop {
            match next_event(&mut reader, signals)? {
                Event::Bytes(new) if new.is_empty() => break,
                Event::Bytes(new) => bytes.extend(new),
                // Dropping the child kills it and everything it started.
                Event::Interrupted(signal) => return Err(interrupt::interrupted_by(signal, signals)),
            }
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = bytes.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some((phase, detail, amount)) = parser.line(line.trim_end()) {
                    progress.step(phase, detail, amount);
                }
            }
            if parser.error_name == DOWNLOAD_FAILED {
                break;
            }
        }
        let exit = if parser.error_name == DOWNLOAD_FAILED { Exit::Code(1) } else { child.wait()? };
        Ok((exit != Exit::Code(0)).then_some(DebootstrapError { exit, name: parser.error_name, message: parser.error }))
    })
}

enum Event {
    Bytes(Vec<u8>),
    Interrupted(Signal),
}

/// Waits for data (empty at the end) or a signal.
fn next_event(reader: &mut File, signals: &mut TerminationSignals) -> Result<Event> {
    loop {
        let mut ends =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ends, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            outcome => outcome.or_cannot("wait for", "debootstrap")?,
        };
        let (asked, readable) = (ends[0].any().unwrap_or(false), ends[1].any().unwrap_or(false));
        if asked {
            if let Some(signal) = signals.take()? {
                return Ok(Event::Interrupted(signal));
            }
        }
        if readable {
            let mut bytes = vec![0; 4096];
            let count = reader.read(&mut bytes).or_cannot("read", "debootstrap's progress")?;
            bytes.truncate(count);
            return Ok(Event::Bytes(bytes));
        }
    }
}

/// Runs in the child: sets up mounts and environment, and executes debootstrap.
fn become_debootstrap(program: &Path, arguments: &[String], wgetrc: &Path) -> Result<Infallible> {
    make_all_private()?;
    // The host's /proc shows other PIDs.
    Mount::proc(Path::new("/proc"))?.keep();
    let program = program.display().to_string();
    let words: Vec<&str> =
        ["sh", "-c", WITH_DESCRIPTOR_3, &program].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let proxies = PROXIES.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let fixed = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C"].map(str::to_owned);
    let wgetrc = format!("WGETRC={}", wgetrc.display());
    let environment: Vec<String> = proxies.chain(fixed).chain([wgetrc]).collect();
    let environment: Vec<&str> = environment.iter().map(String::as_str).collect();
    process::exec(Path::new("/bin/sh"), &words, &environment)
}

/// The user's own settings for wget(1), such as a proxy.
fn users_wgetrc() -> String {
    let of_home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".wgetrc"));
    let path = std::env::var_os("WGETRC").map(PathBuf::from).or_else(of_home);
    path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
}

fn find_program() -> Result<PathBuf> {
    let places = ["/usr/sbin/debootstrap", "/usr/bin/debootstrap", "/usr/local/sbin/debootstrap"].map(PathBuf::from);
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let missing = Error::new("find", "debootstrap", "it makes Debian systems, and is not installed");
        missing.hint("apt install debootstrap, or build without the internet: --from host")
    })
}

/// Removes what belongs to this host: host name, name servers, and package files.
fn remove_host_files(root: &Path) -> Result<()> {
    for file in ["etc/hostname", "etc/resolv.conf"] {
        let file = root.join(file);
        // A link could lead out of the root.
        let _ = fs::remove_file(&file);
        fs::write(&file, "").or_cannot("write", file.display())?;
    }
    let archives = root.join("var/cache/apt/archives");
    for entry in fs::read_dir(&archives).or_cannot("list", archives.display())?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(entry.path()).or_cannot("remove", entry.path().display())?;
        }
    }
    Ok(())
}

/// Parses debootstrap's progress; see `/usr/share/debootstrap/functions`, which writes each kind of line.
#[derive(Debug, Default)]
struct ProgressParser {
    /// Description of the current phase.
    phase: String,
    /// Name of the phase.
    tag: String,
    now: u64,
    of: u64,
    fetched: u64,
    packages: u64,
    message: String,
    arguments: Vec<String>,
    error_name: String,
    error: Option<String>,
}

/// Phase, current item, and progress.
type ProgressUpdate<'a> = (&'a str, &'a str, Amount);

impl ProgressParser {
    /// Parses one line: a letter for its type, an optional letter for its part, and the text.
    fn line(&mut self, line: &str) -> Option<ProgressUpdate<'_>> {
        let (kind, text) = line.split_once(':')?;
        let text = text.trim_start();
        match kind {
            // A count; at the beginning of a phase also its name, and then a PF follows.
            "P" => {
                let mut words = text.split(' ');
                self.now = words.next()?.parse().ok()?;
                self.of = words.next()?.parse().ok()?;
                match words.next() {
                    Some(tag) => tag.clone_into(&mut self.tag),
                    None => return Some(self.shown(false)),
                }
            }
            "PF" => {
                if self.tag == "SIZEDEBS" {
                    self.packages = self.of;
                }
                text.clone_into(&mut self.phase);
                return Some(self.shown(false));
            }
            "I" | "W" | "E" => {
                text.clone_into(&mut self.message);
                self.arguments.clear();
            }
            "IA" | "WA" | "EA" => self.arguments.push(text.to_owned()),
            "IF" => {
                if self.message == "RETRIEVING" && self.tag == "DOWNDEBS" {
                    self.fetched += 1;
                }
                if matches!(self.message.as_str(), "RETRIEVING" | "EXTRACTING" | "UNPACKING" | "CONFIGURING") {
                    return Some(self.shown(true));
                }
            }
            // It would go on to try all other packages, as slowly, and fail in the end.
            "EF" | "WF" if kind == "EF" || self.message == DOWNLOAD_FAILED => {
                self.error =
                    Some(self.arguments.iter().fold(text.to_owned(), |text, word| text.replacen("%s", word, 1)));
                self.error_name = std::mem::take(&mut self.message);
            }
            _ => (),
        }
        None
    }

    fn shown(&self, with_detail: bool) -> ProgressUpdate<'_> {
        let detail = self.arguments.first().filter(|_| with_detail).map_or("", String::as_str);
        let amount = match self.tag.as_str() {
            "DOWNDEBS" => Amount::Count { now: self.fetched, of: self.packages },
            // These count bytes: show a percentage.
            tag if tag.starts_with("DOWN") => Amount::Percent(100 * self.now / self.of.max(1)),
            _ => Amount::Count { now: self.now, of: self.of },
        };
        (&self.phase, detail, amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown for lines as debootstrap 1.0.128 writes them.
    fn shown(lines: &str) -> (Vec<(String, String, Amount)>, ProgressParser) {
        let mut parser = ProgressParser::default();
        let mut all = Vec::new();
        for line in lines.lines() {
            let shown = parser.line(line).map(|(phase, detail, amount)| (phase.to_owned(), detail.to_owned(), amount));
            all.extend(shown);
        }
        (all, parser)
    }

    #[test]
    fn packages_are_counted_and_bytes_are_percent() {
        let (all, _) = shown(
            "P: 0 50060337 DOWNPKGS\nPF: Downloading Packages files\nI: RETRIEVING\nIA: Packages\nIA: \n\
             IF: Retrieving %s %s\nP: 25030168 50060337\nP: 0 156 SIZEDEBS\nPF: Finding package sizes\n\
             P: 0 51000000 DOWNDEBS\nPF: Downloading packages\nI: RETRIEVING\nIA: adduser\nIA: 3.134\n\
             IF: Retrieving %s %s\nI: VALIDATING\nIA: adduser\nIF: Validating %s %s\n\
             P: 1 88 EXTRACTPKGS\nPF: Extracting packages\nI: EXTRACTING\nIA: apt\nIF: Extracting %s...\n",
        );
        let all: Vec<(&str, &str, Amount)> = all.iter().map(|(phase, detail, r)| (&**phase, &**detail, *r)).collect();
        let count = |now, of| Amount::Count { now, of };
        assert_eq!(
            all,
            [
                ("Downloading Packages files", "", Amount::Percent(0)),
                ("Downloading Packages files", "Packages", Amount::Percent(0)),
                ("Downloading Packages files", "", Amount::Percent(49)),
                ("Finding package sizes", "", count(0, 156)),
                ("Downloading packages", "", count(0, 156)),
                ("Downloading packages", "adduser", count(1, 156)),
                ("Extracting packages", "", count(1, 88)),
                ("Extracting packages", "apt", count(1, 88)),
            ]
        );
    }

    #[test]
    fn an_error_is_put_together_and_nonsense_is_passed_over() {
        let (all, parser) =
            shown("nonsense\nP: x y\nP: 1\n:\nE: NOGETREL\nEA: http://x/Release\nEF: Failed getting release file %s\n");
        assert_eq!(all, []);
        assert_eq!(parser.error.unwrap(), "Failed getting release file http://x/Release");
        assert_eq!(parser.error_name, "NOGETREL");
    }
}
