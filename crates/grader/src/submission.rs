//! What is graded: where a submission lies, what it is written in, and the command that runs it.
//!
//! Three layouts are known: this workspace (or a student's copy of it), whose programs cargo builds; and the course's
//! own, a folder a task with a C program or a shell script in it. Whatever the layout, the box gets a copy of the few
//! files the task needs, in a folder of its own; the original stays out of its reach.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::{Uid, User};

use crate::fault::Fault;
use crate::hostbox::{Planted, PlantedWhat, Start};
use crate::task::Task;
use crate::trace::StdoutKind;

/// Where programs are looked for that root runs: the folders that Debian gives root.
pub const ROOTS_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most bytes and files of a submission that are copied into the box.
const MOST_BYTES: u64 = 64 << 20;
const MOST_FILES: usize = 2000;
/// Folders that are no part of what runs.
const LEFT_OUT: [&str; 8] =
    [".git", "target", "node_modules", "__pycache__", "container_root", ".images", ".containers", ".cache"];
/// What the box's interface to the network is called when no setting names it.
const INTERFACE: &str = "eth0";

/// One student's programs for one task.
#[derive(Debug, Clone)]
pub struct Submission {
    task: Task,
    /// What was handed in, as a canonical path.
    origin: PathBuf,
    layout: Layout,
    /// What cargo has built, once it has.
    built: OnceLock<Vec<PathBuf>>,
}

/// How it is built and started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// A Cargo workspace, by its root.
    Workspace(PathBuf),
    /// The course's: a folder with the task's program in some language.
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The task's program in it.
        program: Program,
    },
}

/// The kinds of program that a folder may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// `NAME.c`, compiled in the box.
    C,
    /// `NAME.sh`, run by bash.
    Bash,
    /// `NAME.py`, run by python3.
    Python,
    /// An executable `NAME`, of whatever kind.
    Executable,
}

/// A submission made ready for the box.
#[derive(Debug, Clone)]
pub struct Handed {
    /// Its folder in the box.
    pub folder: PathBuf,
    /// The folder below that in which its commands are run; empty for the folder itself.
    pub below: PathBuf,
    /// What lies in it.
    pub files: Vec<Planted>,
    /// Commands that build it there.
    pub build: Vec<Vec<String>>,
    /// The command that runs it; of a tool, the words before those of its command line.
    pub run: Vec<String>,
}

impl Submission {
    /// Finds the submission for `task`: in `dir`, else in the workspace that holds the current directory.
    ///
    /// # Errors
    /// [`Fault::Usage`] when no layout fits, with what was looked for.
    pub fn find(dir: Option<&Path>, task: Task) -> Result<Submission, Fault> {
        let asked = dir.unwrap_or(Path::new("."));
        let start =
            fs::canonicalize(asked).map_err(|why| Fault::Usage(format!("cannot open {}: {why}", asked.display())))?;
        let new =
            |origin: &Path, layout| Submission { task, origin: origin.to_owned(), layout, built: OnceLock::new() };
        if let Some(root) = workspace_of(&start, dir.is_some(), task) {
            return Ok(new(root, Layout::Workspace(root.to_owned())));
        }
        if dir.is_some() {
            let nested = [format!("task{}", task.number()), task.folder().to_owned()];
            let folders = std::iter::once(start.clone()).chain(nested.iter().map(|name| start.join(name)));
            for folder in folders {
                if let Some(program) = Program::find(&folder, name_of(task)) {
                    return Ok(new(&start, Layout::Folder { dir: folder, program }));
                }
            }
        }
        let name = name_of(task);
        Err(Fault::Usage(format!(
            "no submission for {task} in {}: neither a Cargo workspace with {}/ nor task{}/{name}.c, .sh, .py or an executable {name}",
            start.display(),
            task.folder(),
            task.number()
        )))
    }

    /// Where it lies on this machine.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Whether it is a Rust workspace, so that its output on a pipe is judged as well.
    pub fn is_rust(&self) -> bool {
        matches!(self.layout, Layout::Workspace(_))
    }

    /// A few words for the head of the report: `~/kit (Rust workspace)`.
    pub fn describe(&self) -> String {
        let kind = match &self.layout {
            Layout::Workspace(_) => "Rust workspace",
            Layout::Folder { program: Program::C, .. } => "C",
            Layout::Folder { program: Program::Bash, .. } => "bash",
            Layout::Folder { program: Program::Python, .. } => "Python",
            Layout::Folder { program: Program::Executable, .. } => "executable",
        };
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.parent().is_some());
        match home.and_then(|home| self.origin.strip_prefix(home).map(Path::to_owned).ok()) {
            Some(below) => format!("~/{} ({kind})", below.display()),
            None => format!("{} ({kind})", self.origin.display()),
        }
    }

    /// Other places on this machine that hold the submission's files, which the box must not see.
    pub fn hidden(&self) -> Vec<PathBuf> {
        let built = self.built.get().map(Vec::as_slice).unwrap_or_default();
        built.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect()
    }

    /// Builds what cargo builds, and makes the rest ready for the box.
    ///
    /// # Errors
    /// [`Fault::DoesNotBuild`] with cargo's first error, [`Fault::Usage`] when a program is missing or it is too big.
    pub fn hand_over(&self) -> Result<Handed, Fault> {
        let task = self.task;
        let name = name_of(task);
        // The folder keeps its name: a program that cannot live with a blank in its path must meet one.
        let outer = self.origin.file_name().map_or_else(|| "submission".into(), |name| name.to_owned());
        let home = Path::new("/home/student").join(outer);
        match &self.layout {
            Layout::Workspace(root) if matches!(task, Task::Task3 | Task::Task4) => self.hand_over_tool(root, home),
            Layout::Workspace(root) => {
                let mut files = Vec::new();
                for program in self.programs(root, task)? {
                    let path = program.file_name().map(PathBuf::from).unwrap_or_default();
                    files.push(planted(program, path, 0o755)?);
                }
                let mut run = vec![format!("./{name}")];
                if task == Task::Task2 {
                    run.push("all".to_owned());
                }
                let folder = home.join(format!("task{}", task.number()));
                Ok(Handed { folder, below: PathBuf::new(), files, build: Vec::new(), run })
            }
            Layout::Folder { dir, program } => {
                let own = dir.file_name().map(PathBuf::from).unwrap_or_default();
                let mut files = Vec::new();
                collect(dir, Path::new(""), &mut files, &mut 0)?;
                // An orchestrator may drive the tool that lies beside it, as it was handed in for task 3.
                let beside = dir.with_file_name("task3");
                let has_tool = task == Task::Task4 && *dir != self.origin && beside.is_dir();
                let (folder, below) = match () {
                    () if has_tool => (home, own.clone()),
                    () if *dir == self.origin => (home, PathBuf::new()),
                    () => (home.join(&own), PathBuf::new()),
                };
                let has = |name: &str| files.iter().any(|file| file.path == Path::new(name));
                let mut build = Vec::new();
                if *program == Program::C {
                    build.push(compile(name));
                }
                if task == Task::Task2 && has("container_prog.c") && !has("container_prog") {
                    build.push(compile("container_prog"));
                }
                let script = format!("{name}.sh");
                let executable =
                    |path: &str| fs::metadata(dir.join(path)).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
                let run = match program {
                    // A tool is typed as the assignment types it, and may be written for another shell.
                    Program::Bash if matches!(task, Task::Task3 | Task::Task4) && executable(&script) => {
                        vec![format!("./{script}")]
                    }
                    Program::C | Program::Executable => vec![format!("./{name}")],
                    Program::Bash => vec!["bash".to_owned(), script],
                    Program::Python => vec!["python3".to_owned(), format!("{name}.py")],
                };
                if has_tool {
                    files = files.into_iter().map(|file| Planted { path: own.join(file.path), ..file }).collect();
                    let mut tool = Vec::new();
                    collect(&beside, Path::new(""), &mut tool, &mut 0)?;
                    files.extend(
                        tool.into_iter().map(|file| Planted { path: Path::new("task3").join(file.path), ..file }),
                    );
                }
                Ok(Handed { folder, below, files, build, run })
            }
        }
    }

    /// A workspace's tool, laid out as in the workspace: the package's scripts, which look for the program in
    /// `target/release` beside it, and that.
    fn hand_over_tool(&self, root: &Path, folder: PathBuf) -> Result<Handed, Fault> {
        let (name, package) = (name_of(self.task), self.task.folder());
        let mut files = Vec::new();
        for program in self.programs(root, self.task)?.iter().filter(|file| file.ends_with(name)) {
            files.push(planted(program, Path::new("target/release").join(name), 0o755)?);
        }
        let scripts = fs::read_dir(root.join(package)).into_iter().flatten().flatten().map(|entry| entry.path());
        for script in scripts.filter(|path| path.extension().is_some_and(|ending| ending == "sh") && path.is_file()) {
            let mode = fs::metadata(&script).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
            files.push(planted(&script, Path::new(package).join(script.file_name().unwrap_or_default()), mode)?);
        }
        if self.task == Task::Task4 {
            self.add_deployment(root, &mut files)?;
        }
        let script = format!("{name}.sh");
        let has_script = files.iter().any(|file| file.path == Path::new(package).join(&script));
        let run = vec![if has_script { format!("./{script}") } else { format!("../target/release/{name}") }];
        Ok(Handed { folder, below: PathBuf::from(package), files, build: Vec::new(), run })
    }

    /// What an orchestrator works with: the services, which `make build` has linked, and the tool of task 3.
    fn add_deployment(&self, root: &Path, files: &mut Vec<Planted>) -> Result<(), Fault> {
        let package = Path::new(self.task.folder());
        for service in ["counter-service", "external-service"] {
            if !root.join(package).join(service).join(service).is_file() {
                return Err(Fault::Usage(format!("{service} is not built in {}: make build", root.display())));
            }
            let mut below = Vec::new();
            collect(&root.join(package).join(service), Path::new(""), &mut below, &mut 0)?;
            files.extend(below.into_iter().map(|file| Planted { path: package.join(service).join(file.path), ..file }));
        }
        let tool = Submission { task: Task::Task3, built: OnceLock::new(), ..self.clone() };
        files.extend(tool.hand_over_tool(root, PathBuf::new())?.files);
        Ok(())
    }

    /// Runs cargo once, on our side: the box has neither its registry nor a network. Returns the task's programs.
    fn programs(&self, root: &Path, task: Task) -> Result<&[PathBuf], Fault> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let package = task.folder();
        // As `make build` does it, so that nothing is compiled twice; where another task does not build, this one alone.
        let mut built = cargo_build(root, &["--workspace"])?;
        if built.failed {
            built = cargo_build(root, &["--package", package])?;
        }
        let messages = built.messages;
        if built.failed {
            return Err(Fault::DoesNotBuild(first_cargo_error(&messages, &built.stderr)));
        }
        let manifest = root.join(package).join("Cargo.toml");
        let programs = executables(&messages, &fs::canonicalize(&manifest).unwrap_or(manifest));
        if !programs.iter().any(|file| file.file_name() == Some(name_of(task).as_ref())) {
            return Err(Fault::Usage(format!("package {package} in {} builds no {}", root.display(), name_of(task))));
        }
        Ok(self.built.get_or_init(|| programs))
    }
}

impl Handed {
    /// The folder in which its commands are run.
    pub fn cwd(&self) -> PathBuf {
        // Joined with nothing, a path gets a slash at its end.
        if self.below.as_os_str().is_empty() { self.folder.clone() } else { self.folder.join(&self.below) }
    }

    /// The name of the host's interface to the network that the submission's settings expect, else `eth0`. They are in
    /// `config.sh`; the lab's newer edition calls that file `setup.sh`.
    pub fn interface(&self) -> String {
        let setting_of = |file: &Planted| match &file.what {
            PlantedWhat::File { bytes, .. } => setting(&String::from_utf8_lossy(bytes), "DEFAULT_IFC"),
            _ => None,
        };
        let called = |name: &'static str| self.files.iter().filter(move |file| file.path.ends_with(name));
        let scripts = self.files.iter().filter(|file| file.path.extension().is_some_and(|ending| ending == "sh"));
        let mut names = called("config.sh").chain(called("setup.sh")).chain(scripts).filter_map(setting_of);
        names.find(|name| is_link_name(name)).unwrap_or_else(|| INTERFACE.to_owned())
    }

    /// How `argv` is started in the submission's folder.
    pub fn start(&self, argv: &[String], traced_calls: Vec<i64>, stdout: StdoutKind) -> Start {
        let term = if stdout == StdoutKind::Pty { "xterm" } else { "dumb" };
        let cwd = self.cwd().to_string_lossy().into_owned();
        let env = [
            ("PATH", ROOTS_PATH),
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
            ("TERM", term),
            ("PWD", cwd.as_str()),
        ];
        Start {
            argv: argv.to_vec(),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            cwd: self.cwd(),
            traced_calls,
            terminal: false,
        }
    }
}

impl Program {
    /// The kind of program called `name` in `dir`; a source wins over what was compiled from it.
    fn find(dir: &Path, name: &str) -> Option<Program> {
        let has = |ending: &str| dir.join(format!("{name}{ending}")).is_file();
        let executable =
            || fs::metadata(dir.join(name)).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        match () {
            () if has(".c") => Some(Program::C),
            () if has(".sh") => Some(Program::Bash),
            () if has(".py") => Some(Program::Python),
            () if executable() => Some(Program::Executable),
            () => None,
        }
    }
}

/// The program that a task asks for.
fn name_of(task: Task) -> &'static str {
    match task {
        Task::Task1 => "namespace_prog",
        Task::Task2 => "simple_container",
        Task::Task3 => "conductor",
        Task::Task4 => "service-orchestrator",
    }
}

/// A file of this machine, to be put into the box as `path`.
fn planted(file: &Path, path: PathBuf, mode: u32) -> Result<Planted, Fault> {
    let bytes = fs::read(file).map_err(|why| Fault::CannotRun(format!("cannot read {}: {why}", file.display())))?;
    Ok(Planted { path, what: PlantedWhat::File { bytes, mode } })
}

/// The value of `NAME="value"  # comment` in a shell's settings file.
fn setting(text: &str, name: &str) -> Option<String> {
    let line = |line: &str| {
        let line = line.trim_start();
        let value = line.strip_prefix("export ").unwrap_or(line).trim_start().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.split(['#', ' ', '\t', ';']).next()?.trim_matches(['"', '\'']).to_owned())
    };
    text.lines().filter_map(line).next_back()
}

/// Whether the kernel takes this as a link's name, and no link of the box has it already.
fn is_link_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..16).contains(&name.len()) && name.chars().all(plain) && !["lo", ".", ".."].contains(&name)
}

/// The workspace that `start` stands for. A folder that was named is one or is the task's in one, never something deeper: a
/// submission may lie below another workspace, such as the solution's, and would then be taken for it.
fn workspace_of(start: &Path, named: bool, task: Task) -> Option<&Path> {
    let mut around = start.ancestors().filter(|folder| is_workspace(folder, task));
    if named { around.find(|root| *root == start || root.join(task.folder()) == start) } else { around.next() }
}

fn is_workspace(dir: &Path, task: Task) -> bool {
    dir.join("Cargo.toml").is_file() && dir.join(task.folder()).join("Cargo.toml").is_file()
}

fn compile(name: &str) -> Vec<String> {
    // -pthread and -lm cost nothing where they are not needed.
    ["gcc", "-O2", "-pthread", "-o", name, &format!("{name}.c"), "-lm"].map(str::to_owned).to_vec()
}

/// Reads everything below `dir` that is a file, a folder or a link.
fn collect(dir: &Path, below: &Path, files: &mut Vec<Planted>, bytes: &mut u64) -> Result<(), Fault> {
    let cannot = |why: std::io::Error| Fault::Usage(format!("cannot read {}: {why}", dir.join(below).display()));
    for entry in fs::read_dir(dir.join(below)).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (path, kind) = (below.join(entry.file_name()), entry.file_type().map_err(cannot)?);
        if kind.is_dir() && LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let meta = entry.metadata().map_err(cannot)?;
        *bytes += meta.len();
        if *bytes > MOST_BYTES || files.len() > MOST_FILES {
            return Err(Fault::Usage(format!("{} is too big: more than 64 MiB or {MOST_FILES} files", dir.display())));
        }
        if kind.is_dir() {
            files.push(Planted { path: path.clone(), what: PlantedWhat::Folder });
            collect(dir, &path, files, bytes)?;
        } else if kind.is_symlink() {
            files.push(Planted { path, what: PlantedWhat::Link(fs::read_link(entry.path()).map_err(cannot)?) });
        } else if kind.is_file() {
            let what = PlantedWhat::File {
                bytes: fs::read(entry.path()).map_err(cannot)?,
                mode: meta.permissions().mode() & 0o777,
            };
            files.push(Planted { path, what });
        }
    }
    Ok(())
}

/// What came of one run of cargo.
struct Built {
    failed: bool,
    messages: Vec<serde_json::Value>,
    stderr: String,
}

/// Builds what `which` names of the workspace at `root`.
fn cargo_build(root: &Path, which: &[&str]) -> Result<Built, Fault> {
    let output = cargo_as_owner_of(root)
        .args(["build", "--release", "--message-format=json"])
        .args(which)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| {
            Fault::CannotRun(format!("cannot run cargo: {why}; under sudo, use sudo -E env PATH=\"$PATH\""))
        })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Built { failed: !output.status.success(), messages, stderr })
}

/// cargo, run by whom the workspace belongs to: what root builds there, its owner could not build again.
fn cargo_as_owner_of(root: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    let owner = fs::metadata(root).map(|folder| Uid::from_raw(folder.uid()));
    if let (Ok(owner), true) = (owner, Uid::effective().is_root()) {
        if let (false, Ok(Some(user))) = (owner.is_root(), User::from_uid(owner)) {
            cargo.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", user.dir).env("USER", user.name);
        }
    }
    cargo
}

/// The programs of one package in cargo's messages.
fn executables(messages: &[serde_json::Value], manifest: &Path) -> Vec<PathBuf> {
    let ours = messages.iter().filter(|message| {
        let of = message.get("manifest_path").and_then(|path| path.as_str());
        of.is_some_and(|path| Path::new(path) == manifest)
    });
    ours.filter_map(|message| message.get("executable")?.as_str()).map(PathBuf::from).collect()
}

/// The compiler's first error, else cargo's own.
fn first_cargo_error(messages: &[serde_json::Value], stderr: &str) -> String {
    let rendered = messages.iter().find_map(|message| {
        let diagnostic = message.get("message")?;
        let is_error = diagnostic.get("level")?.as_str()? == "error";
        is_error.then(|| {
            diagnostic
                .get("rendered")?
                .as_str()
                .map(|text| text.lines().take(2).map(str::trim).collect::<Vec<_>>().join(" "))
        })?
    });
    let own =
        || stderr.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed and said nothing").to_owned();
    rendered.unwrap_or_else(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, mode) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        dir
    }

    #[test]
    fn the_course_layout_is_found_from_its_top_and_from_the_task_folder() {
        let dir = folder(&[("task1/namespace_prog.c", 0o644), ("task2/simple_container.sh", 0o644)]);
        for start in [dir.path().to_owned(), dir.path().join("task1")] {
            let found = Submission::find(Some(&start), Task::Task1).unwrap();
            assert!(!found.is_rust());
            let handed = found.hand_over().unwrap();
            assert_eq!(handed.run, ["./namespace_prog"]);
            assert_eq!(handed.build.len(), 1);
            assert_eq!(handed.files.iter().map(|f| f.path.to_str().unwrap()).collect::<Vec<_>>(), ["namespace_prog.c"]);
        }
        let second = Submission::find(Some(dir.path()), Task::Task2).unwrap().hand_over().unwrap();
        assert_eq!(second.run, ["bash", "simple_container.sh"]);
    }

    #[test]
    fn the_interface_is_called_as_the_settings_of_the_tool_say() {
        let called_by = |file: &str, text: &str| {
            let dir = folder(&[("task3/conductor.sh", 0o755)]);
            fs::write(dir.path().join(file), text).unwrap();
            let handed = Submission::find(Some(dir.path()), Task::Task3).unwrap().hand_over().unwrap();
            assert_eq!(handed.run, ["./conductor.sh"]);
            handed.interface()
        };
        let called = |text: &str| called_by("task3/config.sh", text);
        assert_eq!(called_by("task3/setup.sh", "DEFAULT_IFC=enp0s1\n"), "enp0s1");
        assert_eq!(called_by("task3/conductor.sh", "DEFAULT_IFC=\"enp0s2\"\n"), "enp0s2");
        assert_eq!(called_by("task3/notes.txt", "DEFAULT_IFC=enp0s3\n"), "eth0");
        assert_eq!(called("# x\nDEFAULT_IFC=\"enp1s0\" # Example\n"), "enp1s0");
        assert_eq!(called("export DEFAULT_IFC=ens3\n"), "ens3");
        for none in
            ["", "DEFAULT_IFC=\"\"", "DEFAULT_IFC=$(ip route)", "DEFAULT_IFC=lo", "DEFAULT_IFC=far-too-long-a-name"]
        {
            assert_eq!(called(none), "eth0", "{none}");
        }
    }

    #[test]
    fn a_file_that_is_not_executable_is_no_program() {
        let dir = folder(&[("task1/namespace_prog", 0o644)]);
        let why = Submission::find(Some(dir.path()), Task::Task1).unwrap_err();
        assert!(matches!(&why, Fault::Usage(text) if text.contains("namespace_prog.c")), "{why}");
    }

    #[test]
    fn a_copy_of_the_workspace_is_rust_by_its_root_and_by_the_folder_of_the_task() {
        let dir = folder(&[
            ("Cargo.toml", 0o644),
            ("task1-namespaces/Cargo.toml", 0o644),
            ("task1-namespaces/src/main.rs", 0o644),
        ]);
        for start in ["", "task1-namespaces"] {
            let found = Submission::find(Some(&dir.path().join(start)), Task::Task1).unwrap();
            assert!(found.is_rust());
            assert_eq!(found.origin(), fs::canonicalize(dir.path()).unwrap());
        }
    }

    #[test]
    fn a_submission_below_a_workspace_is_not_taken_for_it() {
        let dir = folder(&[
            ("Cargo.toml", 0o644),
            ("task1-namespaces/Cargo.toml", 0o644),
            ("submissions/empty/task2/simple_container.sh", 0o644),
            ("submissions/full/task1/namespace_prog.c", 0o644),
        ]);
        for named in ["submissions", "submissions/empty"] {
            let why = Submission::find(Some(&dir.path().join(named)), Task::Task1).unwrap_err();
            assert!(matches!(why, Fault::Usage(_)), "{why}");
        }
        assert!(!Submission::find(Some(&dir.path().join("submissions/full")), Task::Task1).unwrap().is_rust());
    }

    #[test]
    fn the_first_error_of_the_compiler_is_told_in_one_line() {
        let messages = [
            serde_json::json!({"message": {"level": "warning", "rendered": "warning: x"}}),
            serde_json::json!({"message": {"level": "error", "rendered": "error[E0308]: mismatched types\n  --> src/main.rs:3:9\n   |\n"}}),
        ];
        assert_eq!(first_cargo_error(&messages, ""), "error[E0308]: mismatched types --> src/main.rs:3:9");
        assert_eq!(first_cargo_error(&[], "error: no such package\n"), "error: no such package");
    }
}
