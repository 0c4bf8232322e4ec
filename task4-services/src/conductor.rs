//! Runs the `conductor` command, or any tool with the assignment's command line.
//!
//! Each command line is printed as a user would type it in the folder of the tool. Only commands of the assignment are
//! used, and only results that it specifies are read: the first column of `ps` and `images`, the output of a command
//! inside, and the container's root at `.containers/NAME/rootfs` beside the tool. So `run` has no `-d` here and is
//! started in the background. A command with an exit code other than 0 has failed; one with 0 may have failed too, so
//! its effect is checked.

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

/// The text that a container echoes to show that it runs. No tool prints it by itself.
const ALIVE: &str = "alive-and-well";

/// The tool, and the folder of its containers.
#[derive(Debug)]
pub struct Conductor {
    program: PathBuf,
    folder: PathBuf,
    /// Prints its command lines.
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

    /// The folder of the tool and its settings.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root of a container, as the host sees it.
    pub fn rootfs(&self, container: &str) -> PathBuf {
        self.folder.join(".containers").join(container).join("rootfs")
    }

    /// The folder of our own notes: logs and the lock. `down` removes it.
    pub fn notes(&self) -> PathBuf {
        self.folder.join(".services")
    }

    /// The log file with the output of a service and of the commands that run it.
    pub fn log(&self, service: &str) -> PathBuf {
        self.notes().join(format!("{service}.log"))
    }

    /// The processes whose output goes to the log of a service: the commands that run it, and the service itself.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn writers(&self, service: &str) -> Result<Vec<Pid>> {
        match File::open(self.log(service)) {
            Ok(log) => holding(&log, &[1, 2]),
            // No log, no writer.
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Whether an image of this name exists.
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

    /// Whether a command can be executed in a container, which shows that it runs.
    pub fn is_running(&self, container: &str) -> bool {
        self.ask(container, &["echo", ALIVE]).is_ok_and(|said| said.lines().any(|line| line.trim() == ALIVE))
    }

    /// Runs a command and waits for it; prints its command line, its reason and its output.
    ///
    /// # Errors
    /// In words when its exit code is not 0.
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

    /// Starts a command in the background; its output is appended to the service's log.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be written.
    pub fn background(&self, service: &str, arguments: &[&str], why: &str) -> Result<Child> {
        self.progress.command(&format!("{} &", self.line(arguments)), why);
        let log = self.log(service);
        let out = File::options().create(true).append(true).open(&log).or_cannot("open", log.display())?;
        let err = out.try_clone().or_cannot("open", log.display())?;
        // A process group of its own, so that Ctrl-C does not reach it.
        let mut command = self.prepared(arguments);
        command.stdout(out).stderr(err).process_group(0).spawn().or_cannot("run", self.program.display())
    }

    /// Removes a container.
    ///
    /// # Errors
    /// When the tool fails, or reports success but the container still exists.
    pub fn stop(&self, lock: &CommandLock, container: &str, why: &str) -> Result<()> {
        self.command(lock, &["stop", container], why)?;
        let still_there = "it ended with code 0, and the container is still there";
        if self.has_container(container)? { Err(Error::new("stop", container, still_there)) } else { Ok(()) }
    }

    /// Runs a command in a container and returns its stdout.
    ///
    /// # Errors
    /// In words when its exit code is not 0.
    pub fn ask(&self, container: &str, question: &[&str]) -> Result<String> {
        let mut arguments = vec!["exec", container, "--"];
        arguments.extend(question);
        self.silent(&arguments)
    }

    /// Whether an address answers a container's ping.
    pub fn pings(&self, container: &str, address: &str) -> bool {
        let said = self.ask(container, &["ping", "-c", "1", "-W", "1", address]);
        // The time to live of a reply; the other words depend on the locale.
        said.is_ok_and(|said| said.contains("ttl="))
    }

    fn first_column(&self, table: &str) -> Result<Vec<String>> {
        let text = self.silent(&[table])?;
        // The banner and the header are not rows, but their first words are not used as names.
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
