//! Driving the `conductor` command, or any tool with the assignment's command line.
//!
//! Each command line is shown as it would be typed, in the folder of the tool. Only what the assignment itself uses is
//! used here, and only what the assignment promises is read back: the first column of `ps` and `images`, what a command
//! inside prints, and the container's root at `.containers/NAME/rootfs` beside the tool. So `run` has no `-d` here: it goes
//! to the background. A command that ends with another code than 0 has failed; one that ends with 0 may have, too, so what
//! it should have done is looked at.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nsutil::error::{Error, OrCannot, Result};
use rustix::process::Pid;

use crate::command_lock::CommandLock;
use crate::holders::holding;
use crate::progress::Progress;

/// What a container is asked to say, to show that it runs. No tool says this of itself.
const ALIVE: &str = "alive-and-well";

/// The tool, and where it keeps its containers.
#[derive(Debug)]
pub struct Conductor {
    program: PathBuf,
    folder: PathBuf,
    /// Where its command lines are told.
    pub progress: Progress,
}

impl Conductor {
    /// The tool at `program`, with its state in the same folder.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn at(program: &Path, progress: Progress) -> Result<Self> {
        let found = fs::canonicalize(program).or_cannot("find conductor at", program.display());
        let program = found.and_then(|path| match fs::metadata(&path) {
            Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => Ok(path),
            _ => Err(Error::new("find conductor at", path.display(), "it is not an executable program")),
        });
        let program = program.map_err(|error| error.hint("say where it is with --conductor PATH"))?;
        let folder = program.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { program, folder, progress })
    }

    /// Where the tool is, and its settings.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root of a container, as the host sees it.
    pub fn rootfs(&self, container: &str) -> PathBuf {
        self.folder.join(".containers").join(container).join("rootfs")
    }

    /// Where our own notes are: logs, and whose turn it is. `down` removes it.
    pub fn notes(&self) -> PathBuf {
        self.folder.join(".services")
    }

    /// Where is kept what a service, and the commands behind it, print.
    pub fn log(&self, service: &str) -> PathBuf {
        self.notes().join(format!("{service}.log"))
    }

    /// The processes whose output goes to the log of a service: the commands that hold it up, and itself.
    ///
    /// # Errors
    /// When /proc cannot be looked at.
    pub fn writers(&self, service: &str) -> Result<Vec<Pid>> {
        match File::open(self.log(service)) {
            Ok(log) => holding(&log, &[1, 2]),
            // No log, no writer.
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Whether an image of this name is there.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn has_image(&self, image: &str) -> Result<bool> {
        Ok(self.first_column("images")?.iter().any(|name| name == image))
    }

    /// Whether there is a container of this name, running or not. Not every tool lists one whose first process has ended.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn has_container(&self, container: &str) -> Result<bool> {
        let is_listed = self.first_column("ps")?.iter().any(|name| name == container);
        Ok(is_listed || self.rootfs(container).is_dir())
    }

    /// Whether a command in a container is carried out, which shows that it runs.
    pub fn is_running(&self, container: &str) -> bool {
        self.ask(container, &["echo", ALIVE]).is_ok_and(|said| said.lines().any(|line| line.trim() == ALIVE))
    }

    /// Runs a command to its end, showing it with its reason and what it prints.
    ///
    /// # Errors
    /// In words when it ends with another code than 0.
    pub fn command(&self, lock: &CommandLock, arguments: &[&str], why: &str) -> Result<()> {
        self.progress.command(&self.line(arguments), why);
        let stdin = lock.inherit()?;
        let status = self.progress.aside(|| self.prepared(arguments).stdin(stdin).status());
        let status = status.or_cannot("run", self.program.display())?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new("do", self.line(arguments), format!("it ended with {status}")))
    }

    /// Starts a command that goes on by itself; what it prints is added to the service's log.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be written.
    pub fn background(&self, service: &str, arguments: &[&str], why: &str) -> Result<Child> {
        self.progress.command(&format!("{} &", self.line(arguments)), why);
        let log = self.log(service);
        let out = File::options().create(true).append(true).open(&log).or_cannot("open", log.display())?;
        let err = out.try_clone().or_cannot("open", log.display())?;
        // A process group of its own: Ctrl-C here is not meant for it.
        let mut command = self.prepared(arguments);
        command.stdout(out).stderr(err).process_group(0).spawn().or_cannot("run", self.program.display())
    }

    /// Removes a container.
    ///
    /// # Errors
    /// When the tool fails, or says that it did it and the container is still there.
    pub fn stop(&self, lock: &CommandLock, container: &str, why: &str) -> Result<()> {
        self.command(lock, &["stop", container], why)?;
        let still_there = "it ended with code 0, and the container is still there";
        if self.has_container(container)? { Err(Error::new("stop", container, still_there)) } else { Ok(()) }
    }

    /// What a command in a container prints.
    ///
    /// # Errors
    /// In words when it ends with another code than 0.
    pub fn ask(&self, container: &str, question: &[&str]) -> Result<String> {
        let mut arguments = vec!["exec", container, "--"];
        arguments.extend(question);
        self.silent(&arguments)
    }

    /// Whether an address answers a container's ping.
    pub fn pings(&self, container: &str, address: &str) -> bool {
        let said = self.ask(container, &["ping", "-c", "1", "-W", "1", address]);
        // An answer's time to live; the other words depend on the language.
        said.is_ok_and(|said| said.contains("ttl="))
    }

    fn first_column(&self, table: &str) -> Result<Vec<String>> {
        let text = self.silent(&[table])?;
        // The banner and the header are no rows, but their first words are nobody's names either.
        Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }

    fn silent(&self, arguments: &[&str]) -> Result<String> {
        let out = self.prepared(arguments).output().or_cannot("run", self.program.display())?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&out.stderr);
        let said = said.lines().last().map_or_else(|| out.status.to_string(), str::to_owned);
        Err(Error::new("do", self.line(arguments), said))
    }

    fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    fn line(&self, arguments: &[&str]) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=,".contains(&byte));
        let words = arguments.iter().map(|word| {
            if plain(word) && !word.is_empty() {
                (*word).to_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        });
        format!("./{name} {}", words.collect::<Vec<_>>().join(" "))
    }
}
