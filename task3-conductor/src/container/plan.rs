//! Plans: everything about a container that can be decided before any system call.
//!
//! A plan combines an image's record with the user's options; creating one has no side effects, so its tests need no
//! root.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use nsutil::error::{Error, Result};

use crate::hosts_file::ResolverOptions;
use crate::output::escape::quoted;
use crate::spec::confinement::Confinement;
use crate::spec::env::Variable;
use crate::spec::hostname::Hostname;
use crate::spec::name::{ContainerName, ImageName};
use crate::spec::resources::ResourceLimits;
use crate::spec::user::User;
use crate::spec::volume::Volume;
use crate::store::layer_id::LayerId;
use crate::store::record::{ContainerRecord, ImageRecord, ProcessIdentity};

/// The plan of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: ContainerName,
    /// Its image.
    pub image: ImageName,
    /// The image's layers, topmost first.
    pub layers: Vec<LayerId>,
    /// Its host name; none is the host's.
    pub hostname: Option<Hostname>,
    /// Whether it goes away by itself when its first process ends.
    pub remove_at_end: bool,
    /// What it is for.
    pub purpose: Purpose,
    /// What its processes may use together.
    pub limits: ResourceLimits,
    /// What of the host's files is seen in it.
    pub volumes: Vec<Volume>,
    /// Whether its root cannot be written to.
    pub read_only: bool,
    /// What its names mean.
    pub names: ResolverOptions,
    /// Its first process.
    pub process: Process,
}

/// What a container is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A normal container: it has its own network, is listed, and is removed by the user.
    Use,
    /// A `RUN` instruction: its writes become a layer. It is not listed, and shares the host's network to fetch
    /// packages; it lacks the capabilities to change that network.
    Layer {
        /// Receives its writes.
        upper: PathBuf,
        /// Overlay's own; see [`nsutil::mount::overlay::Overlay`].
        work: PathBuf,
    },
}

/// The plan of a process in a container, for `run`, `exec` and `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Its whole environment: nothing is inherited from the caller.
    pub environment: BTreeMap<String, String>,
    /// Where it starts, an absolute path.
    pub working_directory: String,
    /// Who it runs as; none is root.
    pub user: Option<User>,
    /// How much it is kept from.
    pub confinement: Confinement,
    /// Whether it has a reaper in front of it as process 1 (see [`nsutil::reaper`]).
    pub has_reaper: bool,
}

/// The user's options of a process.
#[derive(Debug, Clone, Default)]
pub struct ProcessOptions {
    /// The command; empty is the default.
    pub command: Vec<String>,
    /// Added to the environment.
    pub variables: Vec<Variable>,
    /// Working directory; none is the default.
    pub working_directory: Option<WorkingDirectory>,
    /// User; none is the default.
    pub user: Option<User>,
    /// The kind of the caller's terminal (`TERM`), if it gets one.
    pub terminal: Option<String>,
}

/// The user's options of a container.
#[derive(Debug, Clone, Default)]
pub struct ContainerOptions {
    /// Its first process.
    pub process: ProcessOptions,
    /// Its own host name.
    pub hostname: Option<Hostname>,
    /// Whether it goes away by itself.
    pub remove_at_end: bool,
    /// What its processes may use together.
    pub limits: ResourceLimits,
    /// What of the host's files is seen in it.
    pub volumes: Vec<Volume>,
    /// Whether its root cannot be written to.
    pub read_only: bool,
    /// What its names mean.
    pub names: ResolverOptions,
    /// How much it is kept from.
    pub confinement: Confinement,
    /// Whether it has a reaper as process 1.
    pub has_reaper: bool,
}

/// An absolute path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory(String);

const DEFAULT_COMMAND: &str = "/bin/bash";
/// PATH, as in Docker's containers.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
impl Plan {
    /// The plan of a container `name` of `image` with these options.
    pub fn new(name: ContainerName, image: ImageRecord, options: ContainerOptions) -> Self {
        let ContainerOptions {
            process,
            hostname,
            remove_at_end,
            limits,
            volumes,
            read_only,
            names,
            confinement,
            has_reaper,
        } = options;
        let usual = image.working_directory.unwrap_or_else(|| "/".to_owned());
        let usual = Process {
            command: if image.command.is_empty() { vec![DEFAULT_COMMAND.to_owned()] } else { image.command },
            environment: default_environment().into_iter().chain(image.environment).collect(),
            working_directory: usual,
            user: image.user,
            confinement,
            has_reaper,
        };
        Self {
            name,
            image: image.name,
            layers: image.layers,
            hostname,
            remove_at_end,
            purpose: Purpose::Use,
            limits,
            volumes,
            read_only,
            names,
            process: usual.with_options(process),
        }
    }

    /// The record of the container created from this plan.
    pub fn record(&self, init: ProcessIdentity, created: i64) -> ContainerRecord {
        ContainerRecord {
            name: self.name.clone(),
            image: self.image.clone(),
            layers: self.layers.clone(),
            created,
            command: self.process.command.clone(),
            environment: self.process.environment.clone(),
            working_directory: self.process.working_directory.clone(),
            hostname: self.hostname.as_ref().map(ToString::to_string),
            remove_at_end: self.remove_at_end,
            user: self.process.user.clone(),
            confinement: self.process.confinement,
            has_reaper: self.process.has_reaper,
            limits: self.limits,
            volumes: self.volumes.clone(),
            read_only: self.read_only,
            init,
        }
    }
}

/// The default environment of a process in a container; `HOME` is added later, since it depends on the user.
pub fn default_environment() -> [(String, String); 1] {
    [("PATH".to_owned(), DEFAULT_PATH.to_owned())]
}

impl Process {
    /// A further process in a container: with the settings of its first process, and the user's options.
    pub fn joining(record: &ContainerRecord, options: ProcessOptions) -> Self {
        let usual = Self {
            command: vec![DEFAULT_COMMAND.to_owned()],
            environment: record.environment.clone(),
            working_directory: record.working_directory.clone(),
            user: record.user.clone(),
            confinement: record.confinement,
            has_reaper: false,
        };
        usual.with_options(options)
    }

    /// Applies the user's options.
    fn with_options(mut self, options: ProcessOptions) -> Self {
        let ProcessOptions { command, variables, working_directory, user, terminal } = options;
        if !command.is_empty() {
            self.command = command;
        }
        self.environment.extend(terminal.map(|kind| ("TERM".to_owned(), kind)));
        self.environment.extend(variables.into_iter().map(|Variable { key, value }| (key, value)));
        if let Some(WorkingDirectory(path)) = working_directory {
            self.working_directory = path;
        }
        self.user = user.or(self.user);
        self
    }

    /// The program as it was typed: a path, or a name to be searched for.
    pub fn program(&self) -> &str {
        self.command.first().map_or(DEFAULT_COMMAND, String::as_str)
    }
}

impl FromStr for WorkingDirectory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') && !text.contains('\0') {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{} is not a working directory: use an absolute path in the container, for example /srv",
            quoted(text)
        ))
    }
}

/// How stdin, stdout and stderr of a process are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// The caller's own descriptors, passed on unchanged.
    Inherit,
    /// A terminal of its own, relayed to and from the caller's.
    Terminal,
}

impl Stdio {
    /// A terminal if requested, or if stdin and stdout are terminals; never for a detached process. A background job of
    /// a shell gets none: setting the terminal's mode would stop it (`SIGTTOU`, termios(3)).
    ///
    /// # Errors
    /// In words when a terminal was requested for a detached process.
    pub fn choose(
        asked_for_terminal: bool,
        stdin_is_ours: bool,
        stdout_is_terminal: bool,
        alone: bool,
    ) -> Result<Self> {
        match (alone, asked_for_terminal) {
            (true, true) => Err(Error::new(
                "allocate a terminal for",
                "a detached container",
                "it would not be connected to anything",
            )
            .hint("leave out --tty or --detach")),
            (true, false) => Ok(Self::Inherit),
            (false, true) => Ok(Self::Terminal),
            (false, false) if stdin_is_ours && stdout_is_terminal => Ok(Self::Terminal),
            (false, false) => Ok(Self::Inherit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageRecord {
        ImageRecord {
            name: "mydebian".parse().unwrap(),
            from: "host".to_owned(),
            layers: vec!["0123456789abcdef0123456789abcdef".parse().unwrap()],
            created: 0,
            command: vec![],
            environment: BTreeMap::from([("LANG".to_owned(), "C".to_owned())]),
            working_directory: None,
            user: None,
        }
    }

    fn plan(image: ImageRecord, options: ContainerOptions) -> Plan {
        Plan::new("eg".parse().unwrap(), image, options)
    }

    #[test]
    fn the_users_command_goes_before_the_images_and_bash_is_last() {
        let with_command = || ImageRecord { command: vec!["nginx".to_owned()], ..image() };
        assert_eq!(plan(image(), ContainerOptions::default()).process.command, ["/bin/bash"]);
        assert_eq!(plan(with_command(), ContainerOptions::default()).process.command, ["nginx"]);
        let command = vec!["ps".to_owned(), "-e".to_owned()];
        let options = ProcessOptions { command, ..ProcessOptions::default() };
        assert_eq!(
            plan(with_command(), ContainerOptions { process: options, ..ContainerOptions::default() }).process.command,
            ["ps", "-e"]
        );
    }

    #[test]
    fn the_environment_holds_what_was_said_and_nothing_of_the_callers() {
        let variables = vec!["LANG=de".parse().unwrap(), "X=a=b".parse().unwrap()];
        let options = ContainerOptions {
            process: ProcessOptions { variables, ..ProcessOptions::default() },
            ..ContainerOptions::default()
        };
        let environment = plan(image(), options).process.environment;
        let pairs: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(pairs, ["LANG=de", &format!("PATH={DEFAULT_PATH}"), "X=a=b"]);
    }

    #[test]
    fn a_terminal_is_allocated_for_interactive_streams_or_on_request() {
        assert_eq!(Stdio::choose(false, true, true, false).unwrap(), Stdio::Terminal);
        assert_eq!(Stdio::choose(false, true, false, false).unwrap(), Stdio::Inherit, "the output goes into a pipe");
        assert_eq!(Stdio::choose(true, false, false, false).unwrap(), Stdio::Terminal);
        assert_eq!(Stdio::choose(false, true, true, true).unwrap(), Stdio::Inherit);
        assert!(Stdio::choose(true, true, true, true).is_err());
    }

    #[test]
    fn an_invalid_variable_or_directory_is_refused_with_an_example() {
        for wrong in ["", "=x", "A", "A\0=b"] {
            assert!(wrong.parse::<Variable>().unwrap_err().contains("for example LANG"), "{wrong:?}");
        }
        for wrong in ["", "srv", "./srv", "../srv", "~", "/srv\0"] {
            assert!(wrong.parse::<WorkingDirectory>().unwrap_err().contains("for example /srv"), "{wrong:?}");
        }
    }
}
