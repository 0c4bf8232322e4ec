//! From a Conductorfile to layer steps: expands variables and paths, without side effects.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use nsutil::error::{Error, Result};

use super::conductorfile::{Conductorfile, Instruction, Position, Word};
use crate::container::plan::default_environment;
use crate::spec::user::{ROOTS_HOME, User};

/// Default settings of a container of the image; ENV, WORKDIR and CMD change them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Command.
    pub command: Vec<String>,
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub working_directory: Option<String>,
    /// User; RUN always runs as root.
    pub user: Option<User>,
}

/// One layer to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerStep {
    /// Its position in the Conductorfile.
    pub at: Position,
    /// As it is written there.
    pub text: String,
    /// What to do.
    pub action: LayerAction,
}

/// How a layer is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerAction {
    /// Copy from the Conductorfile's folder.
    Copy {
        /// Below that folder.
        source: PathBuf,
        /// In the image: an absolute path; with `/` at its end a folder.
        destination: String,
    },
    /// Make a folder, if it is not there.
    Folder(PathBuf),
    /// Run a command.
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// With the environment and the folder that hold at this line.
        settings: Settings,
    },
}

/// The steps of a Conductorfile in order, and the settings at its end; `settings` are those of its base.
///
/// # Errors
/// When a path leads out of the Conductorfile's folder or is empty, with its line and a caret.
pub fn plan(file: &Conductorfile, mut settings: Settings) -> Result<(Vec<LayerStep>, Settings)> {
    let mut steps = Vec::new();
    for statement in &file.statements {
        let action = match &statement.instruction {
            Instruction::Env(pairs) => {
                // All see the values before this line.
                let before = visible(&settings);
                settings.environment.extend(pairs.iter().map(|(name, value)| (name.clone(), value.expand(&before))));
                continue;
            }
            Instruction::Cmd(command) => {
                settings.command = command.arguments();
                continue;
            }
            Instruction::Workdir(folder) => {
                let folder = path_in_image(file, folder, &settings)?;
                settings.working_directory = Some(folder.clone());
                LayerAction::Folder(folder.into())
            }
            Instruction::Copy { source, destination } => LayerAction::Copy {
                source: path_in_context(file, source, &settings)?,
                destination: path_in_image(file, destination, &settings)?,
            },
            Instruction::Run(command) => LayerAction::Run { command: command.arguments(), settings: settings.clone() },
        };
        steps.push(LayerStep { at: statement.at, text: statement.text.clone(), action });
    }
    Ok((steps, settings))
}

/// The variables visible at this line, including defaults, so that `PATH=/opt:$PATH` works.
fn visible(settings: &Settings) -> BTreeMap<String, String> {
    let home = ("HOME".to_owned(), ROOTS_HOME.to_owned());
    default_environment().into_iter().chain([home]).chain(settings.environment.clone()).collect()
}

/// A path in the Conductorfile's folder; `.` is all of it.
fn path_in_context(file: &Conductorfile, word: &Word, settings: &Settings) -> Result<PathBuf> {
    let text = word.expand(&visible(settings));
    let refuse = |action: &str, right: &str| Err(file.source.error_at("do", word.at, action, right));
    let path = Path::new(&text);
    if text.is_empty() {
        return refuse("the source is an empty path", "a file or folder beside the Conductorfile, or . for all");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return refuse("the source leads out of the Conductorfile's folder", "copy it there first");
    }
    if path.is_absolute() {
        return refuse("the source is an absolute path", "paths begin in the Conductorfile's folder");
    }
    // Without `.` components.
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    Ok(if path.as_os_str().is_empty() { ".".into() } else { path })
}

/// An absolute path in the image; a relative one begins where WORKDIR says.
fn path_in_image(file: &Conductorfile, word: &Word, settings: &Settings) -> Result<String> {
    let text = word.expand(&visible(settings));
    if text.is_empty() || text.contains('\0') {
        return Err(file.source.error_at(
            "do",
            word.at,
            "this path is empty",
            "an absolute path in the image, such as /app",
        ));
    }
    let mut parts: Vec<&str> = Vec::new();
    let begin = settings.working_directory.as_deref().filter(|_| !text.starts_with('/')).unwrap_or("/");
    for part in begin.split('/').chain(text.split('/')) {
        match part {
            "" | "." => (),
            // Above the root is the root.
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if text.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    Ok(format!("/{}{slash}", parts.join("/")))
}

impl LayerStep {
    /// The error of an act that failed, at its line.
    pub fn failed(&self, file: &Conductorfile, error: &Error) -> Error {
        file.source.error_at("do", self.at, &nsutil::error::line(error), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Result<(Vec<LayerStep>, Settings)> {
        let file = Conductorfile::parse("Conductorfile", format!("FROM host\n{text}").as_bytes()).unwrap();
        plan(&file, Settings { environment: BTreeMap::from([("BASE".into(), "/base".into())]), ..Settings::default() })
    }

    fn steps(text: &str) -> Vec<LayerAction> {
        planned(text).unwrap().0.into_iter().map(|step| step.action).collect()
    }

    fn copy(source: &str, destination: &str) -> LayerAction {
        LayerAction::Copy { source: source.into(), destination: destination.into() }
    }

    #[test]
    fn paths_are_made_whole_with_the_folder_and_variables_of_their_line() {
        assert_eq!(
            steps(
                "COPY ./a//b /x/\nWORKDIR /app\nCOPY . .\nWORKDIR sub/../lib\nCOPY c d\nENV D=$BASE\nCOPY c $D/../e\nCOPY c ../../.."
            ),
            [
                copy("a/b", "/x/"),
                LayerAction::Folder("/app".into()),
                copy(".", "/app"),
                LayerAction::Folder("/app/lib".into()),
                copy("c", "/app/lib/d"),
                copy("c", "/e"),
                copy("c", "/"),
            ]
        );
    }

    #[test]
    fn settings_are_those_at_the_end_and_a_command_sees_those_of_its_line() {
        let (steps, settings) = planned("ENV A=1\nRUN x\nENV A=2 B=$A\nWORKDIR /w\nCMD [\"y\"]").unwrap();
        let LayerAction::Run { command, settings: then } = &steps[0].action else { panic!() };
        assert_eq!(command, &["/bin/sh", "-c", "x"]);
        assert_eq!(then.environment["A"], "1");
        assert_eq!((&*settings.environment["A"], &*settings.environment["B"]), ("2", "1"));
        assert_eq!((settings.command, settings.working_directory), (vec!["y".to_owned()], Some("/w".to_owned())));
    }

    #[test]
    fn default_variables_are_expanded() {
        assert_eq!(steps("WORKDIR $HOME/x"), [LayerAction::Folder("/root/x".into())]);
        let (_, settings) = planned("ENV PATH=/opt:$PATH").unwrap();
        assert!(settings.environment["PATH"].starts_with("/opt:/usr/local/sbin:"), "{settings:?}");
    }

    #[test]
    fn a_source_outside_of_the_context_is_refused_at_its_place() {
        for (text, place) in [
            ("COPY ../x /x", "2:6"),
            ("COPY a/../../x /x", "2:6"),
            ("COPY /etc/shadow /x", "2:6"),
            ("ENV D=..\nCOPY $D/x /x", "3:6"),
            ("COPY \"\" /x", "2:6"),
            ("COPY x \"$NOTHING\"", "2:8"),
        ] {
            let told = nsutil::error::line(&planned(text).unwrap_err());
            assert!(told.starts_with(&format!("cannot do Conductorfile:{place}: ")), "{text}: {told}");
        }
    }
}
