//! A submission: where it lies, what it is written in, and the command that runs it.
//!
//! Two layouts are known: this workspace (or a student's copy of it), whose programs cargo builds; and the course's own, a
//! folder a task with a C program or a shell script in it. The second comes packed, with a folder around it, flat, or
//! as the five files that the course collects: [`find`] looks for the program, [`unpack`] unpacks, [`kit`] adds what the
//! handout gave, [`repair`] undoes what the way did to the scripts. Each says what it did, and the report tells it.
//!
//! Whatever the layout, the box gets a copy of the few files the task needs, in a folder of its own; the original stays out
//! of its reach.

mod find;
pub mod kit;
mod repair;
pub mod unpack;
pub mod untrusted;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::record::StdoutKind;
use crate::sandbox::{FileKind, ROOTS_PATH, SandboxFile, Start};
use crate::task::Task;
use find::FoundProgram;
use kit::Kit;

/// Most bytes and files of a submission that are copied into the box.
const MOST_BYTES: u64 = 64 << 20;
const MOST_FILES: usize = 2000;
/// Folders that are no part of what runs.
const LEFT_OUT: [&str; 8] =
    [".git", "target", "node_modules", "__pycache__", "container_root", ".images", ".containers", ".cache"];
/// How many archives may be packed into one another.
const ARCHIVES_INSIDE: u8 = 2;
/// What the box's interface to the network is called when no setting names it.
const INTERFACE: &str = "eth0";

/// One student's programs for one task.
#[derive(Debug, Clone)]
pub struct Submission {
    task: Task,
    /// What was handed in, as a canonical path: a folder, or an archive.
    given: PathBuf,
    /// Where its programs are looked for: the same, or the folder that the archive was unpacked into.
    around: PathBuf,
    /// The folder that is graded, somewhere below that.
    origin: PathBuf,
    /// Holds the unpacked archive while it is needed.
    _unpacked: Option<Arc<TempDir>>,
    layout: Layout,
    kit: Kit,
    /// What had to be done to find it.
    notes: Vec<String>,
    /// What had to be done to hand it over, once that was done.
    preparation: OnceLock<Vec<String>>,
    /// What cargo has built, once it has.
    built: OnceLock<Vec<PathBuf>>,
}

/// How it is built and started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// A Cargo workspace, by its root.
    Workspace(PathBuf),
    /// The course's: a folder with the task's program in some language.
    Folder(FoundProgram),
}

/// The kinds of program that a folder may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProgramKind {
    /// `NAME.c`, compiled in the box.
    C,
    /// `NAME.sh`, run by bash.
    Bash,
    /// `NAME.py`, run by python3.
    Python,
    /// An executable `NAME`, of whatever kind.
    Executable,
}

/// A submission prepared for the box.
#[derive(Debug, Clone)]
pub struct PreparedSubmission {
    /// Its folder in the box.
    pub folder: PathBuf,
    /// The folder below that in which its commands are run; empty for the folder itself.
    pub below: PathBuf,
    /// What lies in it.
    pub files: Vec<SandboxFile>,
    /// Commands that build it there.
    pub build: Vec<Vec<String>>,
    /// The command that runs it; of a tool, the words before those of its command line.
    pub run: Vec<String>,
}

impl Submission {
    /// Finds the submission for `task`: in `given`, a folder, an archive or the program itself; else in the workspace that
    /// holds the current directory. What a hand-in lacks comes from `kit`.
    ///
    /// # Errors
    /// `Exit::Usage` when no layout fits, with what was looked for; when two programs do; when an archive is refused.
    pub fn find(given: Option<&Path>, task: Task, kit: Kit) -> Result<Submission> {
        let asked = given.unwrap_or(Path::new("."));
        let start = fs::canonicalize(asked).or_cannot("open", asked).into_usage()?;
        refuse_link(asked, &start, task)?;
        let submission = |origin: &Path, layout| Submission {
            task,
            given: start.clone(),
            around: start.clone(),
            origin: origin.to_owned(),
            _unpacked: None,
            layout,
            kit: kit.clone(),
            notes: Vec::new(),
            preparation: OnceLock::new(),
            built: OnceLock::new(),
        };
        if start.is_file() {
            return Submission::of_file(&start, task, submission);
        }
        if let Some(root) = workspace_of(&start, given.is_some(), task) {
            let found = submission(root, Layout::Workspace(root.to_owned()));
            return Ok(Submission { given: root.to_owned(), ..found });
        }
        if given.is_some() {
            if let Some(found) = below(&start, task, ARCHIVES_INSIDE)? {
                return Ok(found.into(submission));
            }
        }
        let name = name_of(task);
        Err(Error::missing(format!(
            "no submission for {task} in {}: neither a Cargo workspace with {}/ nor task{}/{name}.c, .sh, .py or an executable {name}",
            start.display(),
            task.folder(),
            task.number()
        )))
    }

    /// The submission that a file is: an archive, or the program itself.
    fn of_file(file: &Path, task: Task, new: impl Fn(&Path, Layout) -> Submission) -> Result<Submission> {
        if unpack::kind_of(file).is_some() {
            let found = unpacked(file, task, ARCHIVES_INSIDE)?.ok_or_else(|| {
                let name = name_of(task);
                Error::missing(format!(
                    "no submission for {task} in {}: it has no {name}.c, .sh or .py",
                    file.display()
                ))
            })?;
            return Ok(found.into(new));
        }
        let program = find::named(file, task).ok_or_else(|| {
            let what = "neither a folder, nor a .tar, .tar.gz, .tar.xz or .zip, nor the program of";
            Error::usage(format!("{} is {what} {task}", file.display()))
        })?;
        let dir = program.dir.clone();
        let origin = if find::task_of(&dir) == Some(task) { dir.parent().unwrap_or(&dir).to_owned() } else { dir };
        Ok(new(&origin, Layout::Folder(program)))
    }

    /// Where it lies on this machine.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// The program or source that was found, where cargo does not build it.
    pub fn program(&self) -> Option<PathBuf> {
        match &self.layout {
            Layout::Workspace(_) => None,
            Layout::Folder(found) => Some(found.path()),
        }
    }

    /// Whether it is a Rust workspace, so that its output on a pipe is judged as well.
    pub fn is_rust(&self) -> bool {
        matches!(self.layout, Layout::Workspace(_))
    }

    /// What had to be done to find it and to make it ready: one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let own = match &self.layout {
            Layout::Workspace(root) => build_time(root),
            Layout::Folder(_) => Vec::new(),
        };
        let mut notes: Vec<String> =
            self.notes.iter().chain(self.preparation.get().into_iter().flatten()).cloned().collect();
        if !own.is_empty() {
            let see = format!("see `grade changes {}`", self.given.display());
            notes
                .push(format!("what runs or counts while it is built is not the handout's: {}; {see}", own.join(", ")));
        }
        // An orchestrator's tool comes by the same way, and has met the same there.
        let mut told = BTreeSet::new();
        notes.retain(|note| told.insert(note.clone()));
        notes
    }

    /// The roll number in its name: `24m0001` of `24m0001_assignment3_submission.tar.gz`.
    pub fn student(&self) -> String {
        student(&self.given)
    }

    /// A few words for the head of the report: `~/kit (Rust workspace)`.
    pub fn describe(&self) -> String {
        let kind = match &self.layout {
            Layout::Workspace(_) => "Rust workspace",
            Layout::Folder(found) => match found.program {
                ProgramKind::C => "C",
                ProgramKind::Bash => "bash",
                ProgramKind::Python => "Python",
                ProgramKind::Executable => "executable",
            },
        };
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.parent().is_some());
        match home.and_then(|home| self.given.strip_prefix(home).map(Path::to_owned).ok()) {
            Some(below) => format!("~/{} ({kind})", below.display()),
            None => format!("{} ({kind})", self.given.display()),
        }
    }

    /// Other places on this machine that hold the submission's files, which the box must not see.
    pub fn hidden(&self) -> Vec<PathBuf> {
        let built = self.built.get().map(Vec::as_slice).unwrap_or_default();
        let built = built.iter().filter_map(|file| file.parent()).map(Path::to_owned);
        built.chain([self.given.clone()]).collect()
    }

    /// Builds what cargo builds, and prepares the files for the box.
    ///
    /// # Errors
    /// `Exit::DoesNotBuild` with cargo's first error, `Exit::Usage` when a program is missing or it is too big.
    pub fn prepare(&self) -> Result<PreparedSubmission> {
        let task = self.task;
        let name = name_of(task);
        // The folder keeps its name: a program that cannot live with a blank in its path must meet one.
        let outer = self.origin.file_name().map_or_else(|| "submission".into(), |name| name.to_owned());
        let home = Path::new("/home/student").join(outer);
        match &self.layout {
            Layout::Workspace(root) if matches!(task, Task::Task3 | Task::Task4) => self.prepare_tool(root, home),
            Layout::Workspace(root) => {
                let mut files = Vec::new();
                for program in self.programs(root, task)? {
                    let path = program.file_name().map(PathBuf::from).unwrap_or_default();
                    files.push(sandbox_file(program, path, 0o755)?);
                }
                let mut run = vec![format!("./{name}")];
                if task == Task::Task2 {
                    run.push("all".to_owned());
                }
                let folder = home.join(format!("task{}", task.number()));
                Ok(PreparedSubmission { folder, below: PathBuf::new(), files, build: Vec::new(), run })
            }
            Layout::Folder(found) => self.prepare_folder(found, home),
        }
    }

    /// The course's layout: the program's folder, made complete, and, for an orchestrator, the tool that it drives.
    fn prepare_folder(&self, found: &FoundProgram, home: PathBuf) -> Result<PreparedSubmission> {
        let task = self.task;
        let mut notes = Vec::new();
        let mut files = self.folder_of(task, found, &mut notes)?;
        let is_flat = found.dir == self.origin;
        let own = found.dir.file_name().map(PathBuf::from).unwrap_or_default();
        let (mut folder, mut below) = if is_flat { (home, PathBuf::new()) } else { (home.join(&own), PathBuf::new()) };
        // An orchestrator drives the tool that was handed in for task 3, unless it has one beside it. Where all lie in one
        // folder, it may have been written for `../task3` or for that one.
        let tool = match task {
            Task::Task4 if is_flat || !has(&files, "conductor.sh") => {
                find::program(&self.around, Task::Task3, &mut Vec::new())?
            }
            _ => None,
        };
        if task == Task::Task4 {
            if tool.is_none() && !has(&files, "conductor.sh") {
                notes.push(
                    "not handed in: conductor.sh of task 3, without which no orchestrator can do anything".to_owned(),
                );
            }
            notes.extend(fixed_addresses(&files));
        }
        if let Some(tool) = tool {
            let at = PathBuf::from(Task::Task3.id());
            let tool = self.folder_of(Task::Task3, &tool, &mut notes)?;
            below = if is_flat { PathBuf::from(task.id()) } else { own };
            if !is_flat {
                folder = folder.parent().map_or_else(PathBuf::new, Path::to_owned);
            }
            link_tool(&tool, &at, &mut files, &mut notes);
            let inside = |folder: &Path, files: Vec<SandboxFile>| {
                let folder = folder.to_owned();
                files
                    .into_iter()
                    .map(move |file| SandboxFile { path: folder.join(file.path), ..file })
                    .collect::<Vec<_>>()
            };
            files = inside(&below, files);
            files.extend(inside(&at, tool));
        }
        let mut build = Vec::new();
        if found.program == ProgramKind::C {
            build.push(compile(name_of(task)));
        }
        if task == Task::Task2 && has(&files, "container_prog.c") && !has(&files, "container_prog") {
            build.push(compile("container_prog"));
        }
        let program = below.join(found.proper_name(task));
        let starts_itself = files.iter().filter(|file| file.path == program).any(|file| match &file.what {
            FileKind::File { bytes, mode } => bytes.starts_with(b"#!") && mode & 0o111 != 0,
            _ => false,
        });
        let name = found.proper_name(task);
        let run = match found.program {
            // A tool is typed as the assignment types it, and may be written for another shell.
            ProgramKind::Bash if matches!(task, Task::Task3 | Task::Task4) && starts_itself => {
                vec![format!("./{name}")]
            }
            ProgramKind::C | ProgramKind::Executable => vec![format!("./{}", name_of(task))],
            ProgramKind::Bash => vec!["bash".to_owned(), name],
            ProgramKind::Python => vec!["python3".to_owned(), name],
        };
        self.preparation.get_or_init(|| notes);
        Ok(PreparedSubmission { folder, below, files, build, run })
    }

    /// The files of the folder that a program lies in, complete and put right; the program has its proper name.
    fn folder_of(&self, task: Task, found: &FoundProgram, notes: &mut Vec<String>) -> Result<Vec<SandboxFile>> {
        let mut files = Vec::new();
        collect(&found.dir, Path::new(""), &mut files, &mut 0)?;
        if let Some(program) = files.iter_mut().find(|file| file.path == Path::new(&found.file)) {
            program.path = PathBuf::from(found.proper_name(task));
        }
        properly_named(&mut files, notes);
        let mut repaired = repair::repair(&mut files);
        notes.append(&mut repaired);
        self.kit.complete(task, &mut files, notes)?;
        Ok(files)
    }

    /// A workspace's tool, laid out as in the workspace: the package's scripts, which look for the program in
    /// `target/release` beside it, and that.
    fn prepare_tool(&self, root: &Path, folder: PathBuf) -> Result<PreparedSubmission> {
        let (name, package) = (name_of(self.task), self.task.folder());
        let mut files = Vec::new();
        for program in self.programs(root, self.task)?.iter().filter(|file| file.ends_with(name)) {
            files.push(sandbox_file(program, Path::new("target/release").join(name), 0o755)?);
        }
        let scripts = fs::read_dir(root.join(package)).into_iter().flatten().flatten().map(|entry| entry.path());
        for script in scripts.filter(|path| path.extension().is_some_and(|ending| ending == "sh") && path.is_file()) {
            let mode = fs::metadata(&script).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
            files.push(sandbox_file(&script, Path::new(package).join(script.file_name().unwrap_or_default()), mode)?);
        }
        if self.task == Task::Task4 {
            self.add_deployment(root, &mut files)?;
        }
        let script = format!("{name}.sh");
        let has_script = files.iter().any(|file| file.path == Path::new(package).join(&script));
        let run = vec![if has_script { format!("./{script}") } else { format!("../target/release/{name}") }];
        Ok(PreparedSubmission { folder, below: PathBuf::from(package), files, build: Vec::new(), run })
    }

    /// What an orchestrator works with: the services, which `make build` has linked, and the tool of task 3.
    fn add_deployment(&self, root: &Path, files: &mut Vec<SandboxFile>) -> Result<()> {
        let package = Path::new(self.task.folder());
        for service in ["counter-service", "external-service"] {
            if !root.join(package).join(service).join(service).is_file() {
                return Err(Error::usage(format!("{service} is not built in {}: make build", root.display())));
            }
            let mut below = Vec::new();
            collect(&root.join(package).join(service), Path::new(""), &mut below, &mut 0)?;
            files.extend(
                below.into_iter().map(|file| SandboxFile { path: package.join(service).join(file.path), ..file }),
            );
        }
        let tool =
            Submission { task: Task::Task3, built: OnceLock::new(), preparation: OnceLock::new(), ..self.clone() };
        files.extend(tool.prepare_tool(root, PathBuf::new())?.files);
        Ok(())
    }

    /// Runs cargo once, on our side: the box has neither its registry nor a network. Returns the task's programs.
    fn programs(&self, root: &Path, task: Task) -> Result<&[PathBuf]> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let package = task.folder();
        // As `make build` does it, so that nothing is compiled twice; and a task that does not build is no other's concern.
        let built = cargo_build(root, package)?;
        let messages = built.messages;
        if built.failed {
            return Err(Error::does_not_build(first_cargo_error(&messages, &built.stderr)));
        }
        let manifest = root.join(package).join("Cargo.toml");
        let programs = executables(&messages, &fs::canonicalize(&manifest).unwrap_or(manifest));
        if !programs.iter().any(|file| file.file_name() == Some(name_of(task).as_ref())) {
            return Err(Error::usage(format!("package {package} in {} builds no {}", root.display(), name_of(task))));
        }
        Ok(self.built.get_or_init(|| programs))
    }
}

impl PreparedSubmission {
    /// The folder in which its commands are run.
    pub fn cwd(&self) -> PathBuf {
        // Joined with nothing, a path gets a slash at its end.
        if self.below.as_os_str().is_empty() { self.folder.clone() } else { self.folder.join(&self.below) }
    }

    /// The name of the host's interface to the network that the submission's settings expect, else `eth0`. They are in
    /// `config.sh`; the lab's newer edition calls that file `setup.sh`.
    pub fn interface(&self) -> String {
        let setting_of = |file: &SandboxFile| match &file.what {
            FileKind::File { bytes, .. } => setting(&String::from_utf8_lossy(bytes), "DEFAULT_IFC"),
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
            // mount(8) of util-linux 2.41, which Debian 13 has, would take the newer calls. With these an overlay's `lowerdir` ends
            // at 255 letters, and a tool that Debian 12 runs fails.
            ("LIBMOUNT_FORCE_MOUNT2", "always"),
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

impl ProgramKind {
    /// The ending of its file's name.
    pub fn ending(self) -> &'static str {
        match self {
            ProgramKind::C => ".c",
            ProgramKind::Bash => ".sh",
            ProgramKind::Python => ".py",
            ProgramKind::Executable => "",
        }
    }
}

/// The manifests of the handout, by path.
const MANIFESTS: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("../../../../Cargo.toml")),
    ("crates/nsutil/Cargo.toml", include_str!("../../../nsutil/Cargo.toml")),
    ("task1-namespaces/Cargo.toml", include_str!("../../../../task1-namespaces/Cargo.toml")),
    ("task2-cli-container/Cargo.toml", include_str!("../../../../task2-cli-container/Cargo.toml")),
    ("task3-conductor/Cargo.toml", include_str!("../../../../task3-conductor/Cargo.toml")),
    ("task4-services/Cargo.toml", include_str!("../../../../task4-services/Cargo.toml")),
];

/// What a workspace has besides the handout that decides how it is built, or runs while it is.
fn build_time(root: &Path) -> Vec<String> {
    let packages = MANIFESTS.iter().filter_map(|(path, _)| Path::new(path).parent());
    let scripts = packages.map(|package| package.join("build.rs"));
    let settings = [".cargo/config.toml", ".cargo/config", "rust-toolchain", "rust-toolchain.toml"].map(PathBuf::from);
    let added = settings.into_iter().chain(scripts).filter(|path| root.join(path).symlink_metadata().is_ok());
    let added: Vec<String> = added.map(|path| path.display().to_string()).collect();
    let differs =
        |(path, ours): &&(&str, &str)| fs::read_to_string(root.join(path)).is_ok_and(|theirs| theirs != *ours);
    added.into_iter().chain(MANIFESTS.iter().filter(differs).map(|(path, _)| (*path).to_owned())).collect()
}

/// What was found below a folder or in an archive.
struct Located {
    around: PathBuf,
    origin: PathBuf,
    layout: Layout,
    notes: Vec<String>,
    unpacked: Option<Arc<TempDir>>,
}

impl Located {
    fn into(self, new: impl Fn(&Path, Layout) -> Submission) -> Submission {
        let new = new(&self.origin, self.layout);
        Submission { around: self.around, notes: self.notes, _unpacked: self.unpacked, ..new }
    }
}

/// The submission for `task` somewhere below `start`: in the course's layout, as a workspace in a folder of its own, or
/// in the only archive that lies there, which may hold another one `archives` times.
fn below(start: &Path, task: Task, archives: u8) -> Result<Option<Located>> {
    let located = |origin, layout, notes| Located { around: start.to_owned(), origin, layout, notes, unpacked: None };
    let mut notes = Vec::new();
    let folders = || fs::read_dir(start).into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(root) = folders().find(|folder| is_workspace(folder, task)) {
        notes.push(format!("the workspace is {}", root.strip_prefix(start).unwrap_or(&root).display()));
        return Ok(Some(located(root.clone(), Layout::Workspace(root), notes)));
    }
    if let Some(program) = find::program(start, task, &mut notes)? {
        // What lies in a folder more is laid out from that folder on.
        let parent = program.dir.parent().filter(|parent| parent.starts_with(start));
        let parent = parent.filter(|_| find::task_of(&program.dir) == Some(task));
        let origin = parent.unwrap_or(&program.dir).to_owned();
        return Ok(Some(located(origin, Layout::Folder(program), notes)));
    }
    let mut found = folders().filter(|path| path.is_file() && unpack::kind_of(path).is_some());
    match (found.next(), found.next()) {
        (Some(archive), None) if archives > 0 => unpacked(&archive, task, archives - 1),
        _ => Ok(None),
    }
}

/// Refuses a link in place of the task's folder: it may lead to another student's work.
fn refuse_link(asked: &Path, start: &Path, task: Task) -> Result<()> {
    let entries = fs::read_dir(start).into_iter().flatten().flatten().map(|entry| entry.path());
    let stands_for_it = |path: &PathBuf| find::task_of(path) == Some(task) || is_workspace(path, task);
    let is_link = |path: &PathBuf| path.is_symlink() && path.is_dir();
    // Without the slash at its end, with which the kernel follows it.
    let asked = Some(asked.components().collect::<PathBuf>()).filter(|asked| find::task_of(asked) == Some(task));
    match asked.into_iter().chain(entries).find(|path| is_link(path) && stands_for_it(path)) {
        Some(link) => Err(Error::usage(format!(
            "{} is a link, to {}: a link may lead to somebody else's work, so the folder itself must stand there; if that one is \
             meant, name it with --submission",
            link.display(),
            fs::canonicalize(&link).unwrap_or_default().display()
        ))),
        None => Ok(()),
    }
}

/// Unpacks an archive and finds the submission for `task` in it.
fn unpacked(file: &Path, task: Task, archives: u8) -> Result<Option<Located>> {
    let Some((kind, stem)) = unpack::kind_of(file) else { return Ok(None) };
    let temp = TempDir::with_prefix("grade-").or_cannot("unpack", file).into_usage()?;
    let into = temp.path().join(stem);
    fs::create_dir(&into).or_cannot("unpack", file).into_usage()?;
    unpack::unpack(file, kind, &into, unpack::HAND_IN).or_cannot("unpack", file).into_usage()?;
    let Some(mut found) = below(&into, task, archives)? else { return Ok(None) };
    found.notes.insert(0, format!("unpacked {}", file.file_name().unwrap_or_default().to_string_lossy()));
    found.unpacked.get_or_insert(Arc::new(temp));
    Ok(Some(found))
}

/// The student that a hand-in's name tells.
pub fn student(given: &Path) -> String {
    let stem = unpack::kind_of(given).map(|(_, stem)| stem);
    let name = stem.unwrap_or_else(|| given.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let end = name.to_ascii_lowercase().find("_assignment").filter(|end| *end > 0).unwrap_or(name.len());
    name.get(..end).unwrap_or(&name).to_owned()
}

/// Gives the files that the course names their names, whatever their letter case.
fn properly_named(files: &mut [SandboxFile], notes: &mut Vec<String>) {
    let known = kit::STUDENTS.into_iter().chain(["container_prog.c", "setup.sh", "Conductorfile"]);
    for name in known {
        if has(files, name) {
            continue;
        }
        let misspelt =
            files.iter_mut().find(|file| file.path.to_str().is_some_and(|path| path.eq_ignore_ascii_case(name)));
        if let Some(file) = misspelt {
            notes.push(format!("{} was taken for {name}", file.path.display()));
            file.path = PathBuf::from(name);
        }
    }
}

/// What to say of an orchestrator that names a container's address: the tool chooses it anew each time, and `exec` can ask for it.
fn fixed_addresses(files: &[SandboxFile]) -> Option<String> {
    let script = files.iter().find(|file| file.path == Path::new("service-orchestrator.sh"))?;
    let text = String::from_utf8_lossy(bytes_of(script)?).into_owned();
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split(|letter: char| !letter.is_ascii_digit() && letter != '.'));
    let is_private = |word: &&str| word.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_private());
    let named: std::collections::BTreeSet<&str> = words.filter(is_private).collect();
    let named = named.into_iter().collect::<Vec<_>>().join(", ");
    let why = "right only as long as conductor gives a container this one; step 5 asks the container for it";
    (!named.is_empty()).then(|| format!("service-orchestrator.sh names an address, {named}: {why}"))
}

/// Puts links to the tool's files into the orchestrator's folder, as far as the names are free there: the course's script
/// calls `./conductor.sh`, and the collection takes no links.
fn link_tool(tool: &[SandboxFile], at: &Path, files: &mut Vec<SandboxFile>, notes: &mut Vec<String>) {
    let mut linked = Vec::new();
    for file in tool.iter().filter(|file| file.path.components().count() == 1 && bytes_of(file).is_some()) {
        if !files.iter().any(|known| known.path == file.path) {
            let target = Path::new("..").join(at).join(&file.path);
            files.push(SandboxFile { path: file.path.clone(), what: FileKind::Link(target) });
            linked.push(file.path.display().to_string());
        }
    }
    if !linked.is_empty() {
        notes.push(format!("links beside the orchestrator, to the tool of task 3: {}", linked.join(", ")));
    }
}

fn has(files: &[SandboxFile], name: &str) -> bool {
    files.iter().any(|file| file.path == Path::new(name))
}

/// The bytes of a file in the sandbox.
fn bytes_of(file: &SandboxFile) -> Option<&[u8]> {
    match &file.what {
        FileKind::File { bytes, .. } => Some(bytes),
        _ => None,
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
fn sandbox_file(file: &Path, path: PathBuf, mode: u32) -> Result<SandboxFile> {
    let bytes = fs::read(file).or_cannot("read", file)?;
    Ok(SandboxFile { path, what: FileKind::File { bytes, mode } })
}

/// The value of `NAME="value"  # comment` in a shell's settings file; also as `NAME=${NAME:-value}` and `: ${NAME:=value}`.
fn setting(text: &str, name: &str) -> Option<String> {
    let line = |line: &str| {
        let words = ["export ", "readonly ", "declare ", ": "];
        let line = line.trim_start();
        let line = words.iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line).trim_start();
        let value = match line.trim_start_matches('"') {
            expansion if expansion.starts_with(&format!("${{{name}:=")) => expansion,
            assignment => assignment.strip_prefix(name)?.strip_prefix('=')?,
        };
        let value = value.split(['#', ' ', '\t', ';']).next()?.trim_matches(['"', '\'']);
        Some(default_of(value, name).trim_matches(['"', '\'']).to_owned())
    };
    text.lines().filter_map(line).next_back()
}

/// What `value` is where the variable is not set: the word in `${NAME:-word}`, else the value itself.
fn default_of<'a>(value: &'a str, name: &str) -> &'a str {
    let inside = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).and_then(|it| it.strip_prefix(name));
    let word = inside.and_then(|rest| [":-", ":=", "-", "="].iter().find_map(|operator| rest.strip_prefix(operator)));
    word.unwrap_or(value)
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
    // The language as the course's compiler took it. Newer compilers make errors of these warnings.
    let lenient = ["implicit-function-declaration", "implicit-int", "int-conversion", "incompatible-pointer-types"];
    let lenient = lenient.iter().map(|warning| format!("-Wno-error={warning}"));
    // -pthread and -lm cost nothing where they are not needed.
    let rest = ["-O2", "-pthread", "-o", name, &format!("{name}.c"), "-lm"].map(str::to_owned);
    ["gcc".to_owned(), "-std=gnu17".to_owned()].into_iter().chain(lenient).chain(rest).collect()
}

/// Reads everything below `dir` that is a file, a folder or a link.
fn collect(dir: &Path, below: &Path, files: &mut Vec<SandboxFile>, bytes: &mut u64) -> Result<()> {
    let whole = dir.join(below);
    for entry in fs::read_dir(dir.join(below)).or_cannot("read", &whole).into_usage()? {
        let entry = entry.or_cannot("read", &whole).into_usage()?;
        let (path, kind) = (below.join(entry.file_name()), entry.file_type().or_cannot("read", &whole).into_usage()?);
        if kind.is_dir() && LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let meta = entry.metadata().or_cannot("read", &whole).into_usage()?;
        *bytes += meta.len();
        if *bytes > MOST_BYTES || files.len() > MOST_FILES {
            return Err(Error::usage(format!("{} is too big: more than 64 MiB or {MOST_FILES} files", dir.display())));
        }
        if kind.is_dir() {
            files.push(SandboxFile { path: path.clone(), what: FileKind::Folder });
            collect(dir, &path, files, bytes)?;
        } else if kind.is_symlink() {
            files.push(SandboxFile {
                path,
                what: FileKind::Link(fs::read_link(entry.path()).or_cannot("read", &whole).into_usage()?),
            });
        } else if kind.is_file() {
            let what = FileKind::File {
                bytes: fs::read(entry.path()).or_cannot("read", &whole).into_usage()?,
                mode: meta.permissions().mode() & 0o777,
            };
            files.push(SandboxFile { path, what });
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

/// Builds one package of the workspace at `root`, and what it is made of.
fn cargo_build(root: &Path, package: &str) -> Result<Built> {
    let output = cargo_as_owner_of(root)
        .args(["build", "--release", "--message-format=json", "--package", package])
        // After a change, conductor is ready in three seconds so, and not in half a minute.
        .env("CARGO_INCREMENTAL", "1")
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| {
            Error::cannot_run(format!("cannot run cargo: {why}; under sudo, use sudo -E env PATH=\"$PATH\""))
        })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Built { failed: !output.status.success(), messages, stderr })
}

/// cargo, run as the owner of the workspace: the owner could not rebuild what root has built.
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
            let text = diagnostic.get("rendered")?.as_str()?;
            let place = text.lines().take(2).map(str::trim).collect::<Vec<_>>().join(" ");
            // What the compiler writes below the source line: "expected `&Path`, found `&str`".
            let spans = diagnostic.get("spans").and_then(|spans| spans.as_array()).into_iter().flatten();
            let primary = |span: &&serde_json::Value| span.get("is_primary").and_then(|it| it.as_bool()) == Some(true);
            let label = spans.filter(primary).find_map(|span| span.get("label")?.as_str().map(str::to_owned));
            Some(label.map_or_else(|| place.clone(), |label| format!("{place}: {label}")))
        })?
    });
    let own =
        || stderr.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed and said nothing").to_owned();
    rendered.unwrap_or_else(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn find(given: &Path, task: Task) -> Result<Submission> {
        Submission::find(Some(given), task, Kit::Own)
    }

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
    fn a_link_in_place_of_the_tasks_folder_is_refused_with_where_it_leads() {
        let mate = folder(&[("task1/namespace_prog.c", 0o644), ("kit/task1-namespaces/Cargo.toml", 0o644)]);
        let own = folder(&[("task2/simple_container.sh", 0o644)]);
        let link = own.path().join("task1");
        std::os::unix::fs::symlink(mate.path().join("task1"), &link).unwrap();
        for given in [own.path(), &link, &link.join("")] {
            let why = find(given, Task::Task1).unwrap_err().line();
            assert!(why.contains("task1 is a link, to ") && why.contains(mate.path().to_str().unwrap()), "{why}");
        }
        assert!(find(own.path(), Task::Task2).is_ok(), "the other task is the student's own");
        assert!(find(&mate.path().join("task1"), Task::Task1).is_ok(), "named without a link, it is meant");
        let own = folder(&[]);
        std::os::unix::fs::symlink(mate.path().join("kit/task1-namespaces"), own.path().join("task1-namespaces"))
            .unwrap();
        assert!(find(own.path(), Task::Task1).unwrap_err().line().contains("is a link"));
    }

    #[test]
    fn the_course_layout_is_found_from_its_top_and_from_the_task_folder() {
        let dir = folder(&[("task1/namespace_prog.c", 0o644), ("task2/simple_container.sh", 0o644)]);
        for start in [dir.path().to_owned(), dir.path().join("task1")] {
            let found = find(&start, Task::Task1).unwrap();
            assert!(!found.is_rust());
            let prepared = found.prepare().unwrap();
            assert_eq!(prepared.run, ["./namespace_prog"]);
            assert_eq!(prepared.build.len(), 1);
            assert_eq!(
                prepared.files.iter().map(|f| f.path.to_str().unwrap()).collect::<Vec<_>>(),
                ["namespace_prog.c"]
            );
        }
        let second = find(dir.path(), Task::Task2).unwrap().prepare().unwrap();
        assert_eq!(second.run, ["bash", "simple_container.sh"]);
    }

    #[test]
    fn the_interface_is_called_as_the_settings_of_the_tool_say() {
        let called_by = |file: &str, text: &str| {
            let dir = folder(&[("task3/conductor.sh", 0o755)]);
            fs::write(dir.path().join(file), text).unwrap();
            let prepared = find(dir.path(), Task::Task3).unwrap().prepare().unwrap();
            // Without a first line that names its shell, only a shell can start it.
            assert_eq!(prepared.run, ["bash", "conductor.sh"]);
            prepared.interface()
        };
        let called = |text: &str| called_by("task3/config.sh", text);
        assert_eq!(called_by("task3/setup.sh", "DEFAULT_IFC=enp0s1\n"), "enp0s1");
        assert_eq!(called_by("task3/conductor.sh", "DEFAULT_IFC=\"enp0s2\"\n"), "enp0s2");
        assert_eq!(called_by("task3/notes.txt", "DEFAULT_IFC=enp0s3\n"), "eth0");
        assert_eq!(called("# x\nDEFAULT_IFC=\"enp1s0\" # Example\n"), "enp1s0");
        assert_eq!(called("export DEFAULT_IFC=ens3\n"), "ens3");
        assert_eq!(called("DEFAULT_IFC=${DEFAULT_IFC:-ens4}\n"), "ens4");
        assert_eq!(called("readonly DEFAULT_IFC=\"${DEFAULT_IFC:-\"ens5\"}\" # mine\n"), "ens5");
        assert_eq!(called(": \"${DEFAULT_IFC:=ens6}\"\n"), "ens6");
        assert_eq!(called("DEFAULT_IFC=${OTHER:-ens7}\n"), "eth0");
        for none in
            ["", "DEFAULT_IFC=\"\"", "DEFAULT_IFC=$(ip route)", "DEFAULT_IFC=lo", "DEFAULT_IFC=far-too-long-a-name"]
        {
            assert_eq!(called(none), "eth0", "{none}");
        }
    }

    #[test]
    fn a_file_that_is_not_executable_is_no_program() {
        let dir = folder(&[("task1/namespace_prog", 0o644)]);
        let why = find(dir.path(), Task::Task1).unwrap_err();
        assert!(why.exit == Exit::Missing && why.line().contains("namespace_prog.c"), "{why}");
    }

    #[test]
    fn a_copy_of_the_workspace_is_rust_by_its_root_and_by_the_folder_of_the_task() {
        let dir = folder(&[
            ("Cargo.toml", 0o644),
            ("task1-namespaces/Cargo.toml", 0o644),
            ("task1-namespaces/src/main.rs", 0o644),
        ]);
        for start in ["", "task1-namespaces"] {
            let found = find(&dir.path().join(start), Task::Task1).unwrap();
            assert!(found.is_rust());
            assert_eq!(found.origin(), fs::canonicalize(dir.path()).unwrap());
        }
    }

    #[test]
    fn what_decides_how_a_workspace_is_built_is_told_when_it_is_not_the_handouts() {
        let dir = folder(&[("task1-namespaces/src/main.rs", 0o644)]);
        for (path, text) in MANIFESTS {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), text).unwrap();
        }
        let notes = || find(dir.path(), Task::Task1).unwrap().notes().join("; ");
        assert_eq!(notes(), "");
        fs::create_dir(dir.path().join(".cargo")).unwrap();
        fs::write(dir.path().join(".cargo/config.toml"), "").unwrap();
        fs::write(dir.path().join("task1-namespaces/build.rs"), "").unwrap();
        fs::write(dir.path().join("task1-namespaces/Cargo.toml"), "[package]").unwrap();
        let told = "handout's: .cargo/config.toml, task1-namespaces/build.rs, task1-namespaces/Cargo.toml; see `grade changes ";
        assert!(notes().contains(told), "{}", notes());
    }

    #[test]
    fn a_submission_below_a_workspace_is_not_taken_for_it() {
        let dir = folder(&[
            ("Cargo.toml", 0o644),
            ("task1-namespaces/Cargo.toml", 0o644),
            ("submissions/empty/task2/simple_container.sh", 0o644),
            ("submissions/full/task1/namespace_prog.c", 0o644),
        ]);
        let why = find(&dir.path().join("submissions/empty"), Task::Task1).unwrap_err();
        assert_eq!(why.exit, Exit::Missing, "{why}");
        for named in ["submissions", "submissions/full"] {
            assert!(!find(&dir.path().join(named), Task::Task1).unwrap().is_rust());
        }
    }

    /// The five files that the course collects, in these places.
    fn five(places: [&str; 5]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let texts = [
            "int main(void) {}\n",
            "#!/bin/bash\ngcc container_prog.c\n",
            "#!/bin/bash\nsource config.sh\n# reads a Conductorfile\n",
            "DEFAULT_IFC=\"enp1s0\"\n",
            "#!/bin/bash\n./conductor.sh build service-image\n",
        ];
        for (place, text) in places.into_iter().zip(texts) {
            let path = dir.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const COLLECTED: [&str; 5] = [
        "task1/namespace_prog.c",
        "task2/simple_container.sh",
        "task3/conductor.sh",
        "task3/config.sh",
        "task4/service-orchestrator.sh",
    ];
    const FLAT: [&str; 5] =
        ["namespace_prog.c", "simple_container.sh", "conductor.sh", "config.sh", "service-orchestrator.sh"];

    fn paths(prepared: &PreparedSubmission) -> Vec<String> {
        prepared.files.iter().map(|file| file.path.display().to_string()).collect()
    }

    #[test]
    fn the_five_files_of_the_course_are_made_complete_from_the_kit_and_that_is_told() {
        let dir = five(COLLECTED);
        let second = find(dir.path(), Task::Task2).unwrap();
        let prepared = second.prepare().unwrap();
        assert!(paths(&prepared).contains(&"container_prog.c".to_owned()));
        assert_eq!(prepared.build, [compile("container_prog")]);
        assert_eq!(
            second.notes(),
            ["no run bit, given one: simple_container.sh", "added from the kit, not handed in: container_prog.c"]
        );
        let third = find(dir.path(), Task::Task3).unwrap();
        let prepared = third.prepare().unwrap();
        assert_eq!(
            (prepared.run.as_slice(), prepared.interface()),
            (&["./conductor.sh".to_owned()][..], "enp1s0".to_owned())
        );
        assert!(paths(&prepared).contains(&"Conductorfile".to_owned()), "{:?}", third.notes());
    }

    #[test]
    fn an_orchestrator_without_a_tool_or_with_an_address_of_its_own_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("task4")).unwrap();
        let script = dir.path().join("task4/service-orchestrator.sh");
        let notes = |text: &str| {
            std::fs::write(&script, text).unwrap();
            let found = find(dir.path(), Task::Task4).unwrap();
            found.prepare().unwrap();
            found.notes().join("; ")
        };
        let fixed = notes("#!/bin/bash\nC2_IP=192.168.2.2 # as always\n");
        assert!(fixed.contains("not handed in: conductor.sh"), "{fixed}");
        assert!(fixed.contains("names an address, 192.168.2.2:"), "{fixed}");
        let asked = notes("#!/bin/bash\n# not 192.168.2.2\nip route get 8.8.8.8; curl http://127.0.0.1:3000\n");
        assert!(!asked.contains("names an address"), "{asked}");
    }

    #[test]
    fn an_orchestrator_gets_its_services_and_links_to_its_tool_whatever_the_layout() {
        let nested = COLLECTED.map(|path| format!("24m0001_assignment3_submission/{path}"));
        for places in [COLLECTED, nested.each_ref().map(String::as_str)] {
            let dir = five(places);
            let fourth = find(dir.path(), Task::Task4).unwrap();
            let prepared = fourth.prepare().unwrap();
            let paths = paths(&prepared);
            for path in ["task4/service-orchestrator.sh", "task4/conductor.sh", "task4/config.sh", "task3/conductor.sh"]
            {
                assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
            }
            assert!(paths.contains(&"task4/counter-service/run.sh".to_owned()), "{paths:?}");
            assert_eq!(
                (prepared.cwd().file_name().unwrap(), prepared.interface()),
                ("task4".as_ref(), "enp1s0".to_owned())
            );
            let notes = fourth.notes().join("; ");
            assert!(notes.contains("not handed in: counter-service/, external-service/"), "{notes}");
            assert!(notes.contains("links beside the orchestrator"), "{notes}");
        }
        let flat = five(FLAT);
        let prepared = find(flat.path(), Task::Task4).unwrap().prepare().unwrap();
        let paths = paths(&prepared);
        for path in ["task3/conductor.sh", "task4/conductor.sh", "task4/external-service/app.py"] {
            assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
        }
    }

    #[test]
    fn an_archive_is_graded_as_it_is_and_so_is_one_in_a_folder() {
        let nested = COLLECTED.map(|path| format!("24m0001_assignment3_submission/{path}"));
        let dir = five(nested.each_ref().map(String::as_str));
        let packed = tempfile::tempdir().unwrap();
        let archive = packed.path().join("24m0001_assignment3.tar.gz");
        let mut tar = Command::new("tar");
        let made = tar.arg("-czf").arg(&archive).arg("-C").arg(dir.path());
        assert!(made.arg("24m0001_assignment3_submission").status().unwrap().success());
        for given in [&archive, &packed.path().to_owned()] {
            let found = find(given, Task::Task1).unwrap();
            assert!(found.prepare().unwrap().folder.ends_with("task1"));
            assert_eq!(found.notes()[0], "unpacked 24m0001_assignment3.tar.gz");
        }
        assert_eq!(find(&archive, Task::Task1).unwrap().student(), "24m0001");
    }

    #[test]
    fn a_courses_kit_wins_over_a_students_version_of_a_file_without_a_section() {
        let dir = five(COLLECTED);
        fs::write(dir.path().join("task2/container_prog.c"), "int main(void) { return 1; }\n").unwrap();
        let kit = tempfile::tempdir().unwrap();
        fs::create_dir(kit.path().join("task2")).unwrap();
        fs::write(kit.path().join("task2/container_prog.c"), "int main(void) {}\n").unwrap();
        fs::write(kit.path().join("task2/simple_container.sh"), "the skeleton\n").unwrap();
        let with = |kit: Kit| {
            let found = Submission::find(Some(dir.path()), Task::Task2, kit).unwrap();
            let prepared = found.prepare().unwrap();
            let text = |name: &str| {
                let file = prepared.files.iter().find(|file| file.path == Path::new(name)).unwrap();
                String::from_utf8(bytes_of(file).unwrap().to_vec()).unwrap()
            };
            assert!(text("simple_container.sh").contains("gcc"));
            (text("container_prog.c"), found.notes().join("; "))
        };
        let (text, told) = with(Kit::open(Some(kit.path())).unwrap());
        assert_eq!(text, "int main(void) {}\n");
        assert!(told.contains("container_prog.c has no marked section and differs from the kit's"), "{told}");
        let (text, told) = with(Kit::Own);
        assert!(text.contains("return 1") && told.contains("as handed in, not compared"), "{told}");
    }

    #[test]
    fn a_program_can_be_named_itself_and_its_folder_is_taken() {
        let dir = five(COLLECTED);
        let found = find(&dir.path().join("task3/conductor.sh"), Task::Task3).unwrap();
        assert_eq!(found.origin(), fs::canonicalize(dir.path()).unwrap());
        let why = find(&dir.path().join("task3/config.sh"), Task::Task3).unwrap_err().to_string();
        assert!(why.contains("neither a folder, nor a .tar"), "{why}");
    }

    #[test]
    fn the_first_error_of_the_compiler_is_told_in_one_line() {
        let messages = [
            serde_json::json!({"message": {"level": "warning", "rendered": "warning: x"}}),
            serde_json::json!({"message": {"level": "error", "rendered": "error[E0308]: mismatched types\n  --> src/main.rs:3:9\n   |\n",
                "spans": [{"is_primary": true, "label": "expected `u8`, found `&str`"}]}}),
        ];
        assert_eq!(
            first_cargo_error(&messages, ""),
            "error[E0308]: mismatched types --> src/main.rs:3:9: expected `u8`, found `&str`"
        );
        assert_eq!(first_cargo_error(&[], "error: no such package\n"), "error: no such package");
    }
}
