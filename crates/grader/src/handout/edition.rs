//! The editions of the course: the same lessons, to be written in Rust, or in C and bash.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::handout::section::by_name;
use crate::task::Task;

/// What students write in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Edition {
    /// Rust: the workspace itself.
    #[default]
    Rust,
    /// C and bash, in the assignment's own layout.
    C,
}

/// The files of the edition in C and bash that have marked sections, and the settings that students write.
const WRITTEN_IN_C: [&str; 5] = [
    "task1/namespace_prog.c",
    "task2/simple_container.sh",
    "task3/conductor.sh",
    "task3/config.sh",
    "task4/service-orchestrator.sh",
];

/// Whether a folder is the root of a workspace like this one, in Rust.
pub fn is_workspace(folder: &Path) -> bool {
    Task::ALL.iter().all(|task| folder.join(task.folder()).join("Cargo.toml").is_file())
}

impl Edition {
    /// Its folder in the workspace of the solution.
    pub fn folder(self) -> &'static Path {
        Path::new(match self {
            Edition::Rust => "",
            Edition::C => "editions/c",
        })
    }

    /// The edition that a folder is one of.
    ///
    /// # Errors
    /// `Exit::Usage` when it is none.
    pub fn of(dir: &Path) -> Result<Edition> {
        let is_c = || WRITTEN_IN_C.iter().any(|file| dir.join(file).symlink_metadata().is_ok());
        match is_workspace(dir) {
            true => Ok(Edition::Rust),
            false if is_c() => Ok(Edition::C),
            false => {
                let why = format!("{} is no workspace like this one: it has other folders", dir.display());
                Err(Error::usage(why))
            }
        }
    }

    /// Whether a hand-in must have this file: in C and bash, the course collects five of them.
    pub fn collects(self, path: &Path) -> bool {
        self == Edition::Rust || WRITTEN_IN_C.iter().any(|file| Path::new(file) == path)
    }

    /// Whether a file of the workspace is for those who write in the other language.
    pub fn is_of_another(path: &Path) -> bool {
        // The grader brings what a hand-in need not bring; `make handin` is the same for all.
        let shared = [
            "editions/handin",
            "editions/c/task2/container_prog.c",
            "editions/c/task4/counter-service",
            "editions/c/task4/external-service",
        ];
        path.starts_with("editions") && !shared.iter().any(|kept| path.starts_with(kept))
    }

    /// Whether a file, by its path in an edition in C and bash, is one that may have marked sections.
    pub fn has_lines(path: &Path) -> bool {
        let of_a_task = || Task::ALL.iter().any(|task| path.parent() == Some(&PathBuf::from(task.id())));
        by_name::language_of(path).is_some() && of_a_task()
    }
}
