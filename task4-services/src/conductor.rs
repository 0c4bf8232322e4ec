//! Driving the `conductor` command, or any tool with the assignment's command line.
//!
//! Each command line is shown as it would be typed. Only what the assignment itself uses is used here, and only what
//! the assignment promises is read back: the first column of `ps` and `images`, exit codes, and the container's root
//! at `.containers/NAME/rootfs` beside the tool.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nsutil::error::{Error, OrCannot, Result};

/// The tool, and where it keeps its containers.
#[derive(Debug)]
pub struct Conductor {
    program: PathBuf,
    state: PathBuf,
    explain: bool,
}

impl Conductor {
    /// The tool at `program`, with its state in the same folder.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn at(program: &Path, explain: bool) -> Result<Self> {
        let program = fs::canonicalize(program)
            .or_cannot("find conductor at", program.display())
            .map_err(|error| error.hint("say where it is with --conductor PATH"))?;
        let state = program.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { program, state, explain })
    }

    /// The root of a container, as the host sees it.
    pub fn rootfs(&self, container: &str) -> PathBuf {
        self.state.join(".containers").join(container).join("rootfs")
    }

    /// Where a service's output is kept.
    pub fn log(&self, service: &str) -> PathBuf {
        self.state.join(".services").join(format!("{service}.log"))
    }

    /// Whether an image of this name is there.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn has_image(&self, image: &str) -> Result<bool> {
        Ok(self.first_column("images")?.iter().any(|name| name == image))
    }

    /// Whether a container of this name is listed, running or not.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn is_listed(&self, container: &str) -> Result<bool> {
        Ok(self.first_column("ps")?.iter().any(|name| name == container))
    }

    /// Whether a container's processes can be joined, which shows that it runs.
    pub fn is_running(&self, container: &str) -> bool {
        self.silent(&["exec", container, "--", "true"]).is_ok()
    }

    /// Runs a command to its end, showing it with its reason and what it prints.
    ///
    /// # Errors
    /// In words when it ends with another code than 0.
    pub fn command(&self, arguments: &[&str], why: &str) -> Result<()> {
        self.show(arguments, "", why);
        let status = self.prepared(arguments).status().or_cannot("run", self.program.display())?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new("do", self.line(arguments), format!("it ended with {status}")))
    }

    /// Starts a command that goes on by itself, with what it prints in `log`.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be written.
    pub fn background(&self, arguments: &[&str], log: &Path, why: &str) -> Result<Child> {
        self.show(arguments, " &", why);
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).or_cannot("make folder", folder.display())?;
        }
        let out = File::options().create(true).append(true).open(log).or_cannot("open", log.display())?;
        let err = out.try_clone().or_cannot("open", log.display())?;
        // A process group of its own: Ctrl-C here is not meant for it.
        let mut command = self.prepared(arguments);
        command.stdout(out).stderr(err).process_group(0).spawn().or_cannot("run", self.program.display())
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
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn show(&self, arguments: &[&str], ending: &str, why: &str) {
        if self.explain {
            anstream::println!("# {why}");
        }
        anstream::println!("\x1b[1m$ {}{ending}\x1b[0m", self.line(arguments));
    }

    fn line(&self, arguments: &[&str]) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let words = arguments
            .iter()
            .map(|word| if word.contains([' ', '$', '{']) { format!("{word:?}") } else { (*word).to_owned() });
        format!("./{name} {}", words.collect::<Vec<_>>().join(" "))
    }
}
