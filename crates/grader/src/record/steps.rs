//! What was seen of a tool: a program that is called again and again, and whose work stays between the calls.
//!
//! Tasks 1 and 2 are one program each, watched from its first instruction to its last. A tool (tasks 3 and 4) is judged
//! by what it leaves standing: so its run is a list of steps, in each of which the grader did one thing, and wrote down
//! what came of it. A command line of the tool was run; the kernel was asked what is there; probes were sent
//! through the network. The judges look steps up by their names and never see anything else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{End, Output, Pid, ProcessState, Snapshot};

/// A run of a tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The addresses in the network around the box.
    pub addresses: Addresses,
    /// Why this machine cannot translate addresses, if it cannot: no iptables(8), or a kernel without it.
    #[serde(default)]
    pub no_nat: Option<String>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// Why the session ended before its last step, if it did: the time was up, the box was used up.
    pub cut: Option<String>,
    /// It ended since time was up, or the box was ended from outside: neither says anything of what was not seen.
    #[serde(default)]
    pub broken_off: bool,
    /// The policy of FORWARD on the host under which containers were asked who reaches whom, where the grader set one.
    #[serde(default)]
    pub forward_policy: Option<String>,
    /// The tool is of the edition that builds images of layers, and was asked to.
    #[serde(default)]
    pub builds_layers: bool,
}

/// The addresses outside of containers, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The box's own, on its default interface.
    pub host: String,
    /// The name of that interface.
    pub interface: String,
    /// Another machine's, which reaches the host by way of the router.
    pub outside: String,
    /// A server's on the fake internet, which knows the way to the host and not to what is behind it.
    pub internet: String,
}

/// One thing that the grader did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Under which the judges find it. Unique in a session.
    pub name: String,
    /// When it began, since the start of the session.
    pub at: Duration,
    /// What was done, and what came of it.
    pub did: StepKind,
}

/// What was done in a [`Step`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// A command line was run.
    Command(CommandRun),
    /// The kernel was asked what is there.
    Look(Box<Look>),
    /// Some tried to reach others, all at the same time.
    Probes(Vec<Probe>),
    /// A process was found, or not: a container's first one, a command of `exec`.
    Found(Option<Box<Process>>),
    /// Files of a container were read, by path in its root; those that are not there have no entry.
    Read(BTreeMap<String, String>),
}

/// A command line and its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandRun {
    /// The words.
    pub argv: Vec<String>,
    /// Its first process.
    pub pid: Pid,
    /// It was run on a terminal.
    pub terminal: bool,
    /// What it wrote until its end, or until the session's end.
    pub output: Output,
    /// How it ended; none when it still ran at the end of the session, as a container in the foreground does.
    pub end: Option<End>,
    /// From its start to its end.
    pub wall: Duration,
}

impl CommandRun {
    /// Whether it has ended with exit status 0.
    pub fn succeeded(&self) -> bool {
        self.end == Some(End::Exited(0))
    }

    /// The command line as a person types it.
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }
}

/// The box at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Its host name, settings, cgroups, IPC objects.
    pub shot: Snapshot,
    /// Every process of the box but its init, those of containers included.
    pub processes: Vec<Process>,
    /// The mounts of the box itself.
    pub mounts: Vec<Mount>,
    /// The network of each network namespace that some process is in, by inode.
    pub networks: BTreeMap<u64, Network>,
    /// The packet filter's rules of the box: `nat -A POSTROUTING …` as iptables-save(8) has them with the table in front,
    /// and policies as `filter FORWARD policy DROP`.
    pub rules: Vec<String>,
    /// What lies below the submission's folder, down to the third level, as relative paths.
    pub files: Vec<String>,
    /// The permission bits of a few places that all processes of the box share.
    #[serde(default)]
    pub modes: BTreeMap<String, u32>,
}

/// One process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// As the observer numbers it.
    pub pid: Pid,
    /// Its arguments.
    pub argv: Vec<String>,
    /// It has ended and is not collected.
    pub zombie: bool,
    /// What the kernel says of it.
    pub state: ProcessState,
    /// Of the procfs that it sees at `/proc`: the PID namespace of process 1 there. None where there is no process 1.
    pub proc_of: Option<u64>,
    /// The kinds of file system that it sees at `/proc`, `/sys`, `/dev` and a few places more, as far as some are mounted.
    pub trees: BTreeMap<String, String>,
    /// The names below its `/sys/class/net`: the links of the network namespace in which that sysfs was mounted.
    #[serde(default)]
    pub sys_links: Vec<String>,
    /// Its `/dev/null` is the device of that name.
    pub dev_null: bool,
    /// The permission bits of its `/dev/null`, if there is one.
    #[serde(default)]
    pub null_mode: Option<u32>,
    /// Whether it leads a session of its own; none in records that do not tell.
    #[serde(default)]
    pub own_session: Option<bool>,
    /// The names in its root directory, sorted.
    pub entries: Vec<String>,
    /// The permission bits of its root directory.
    #[serde(default)]
    pub root_mode: u32,
}

/// One line of mountinfo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, as the namespace's process sees it.
    pub point: String,
    /// `proc`, `overlay`.
    pub kind: String,
    /// What was mounted.
    pub source: String,
}

/// What is in one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its links.
    pub links: Vec<Link>,
    /// Its IPv4 routes, as ip-route(8) prints them.
    pub routes: Vec<String>,
}

/// A network link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number in its namespace.
    pub index: u32,
    /// The number of what it is connected to, in the other's namespace: a veth's other end.
    pub peer: Option<u32>,
    /// `veth`, `bridge`; none for hardware and loopback.
    pub kind: Option<String>,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// Its IPv4 addresses with their prefix: `192.168.1.1/24`.
    pub addresses: Vec<String>,
}

/// A place in the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The box itself.
    Host,
    /// Another machine.
    Outside,
    /// The fake internet.
    Internet,
    /// A container, or whatever network namespace was given this name.
    Container(String),
}

/// An attempt to reach an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Under which the judges find it. Unique in a session.
    pub name: String,
    /// From where.
    pub from: Place,
    /// What was tried.
    pub ask: Ask,
    /// What came of it.
    pub answer: Answer,
    /// How long that took.
    pub took: Duration,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// An ICMP echo.
    Ping {
        /// Whom.
        to: String,
    },
    /// A TCP connection; the answer is what the other side says first, one line.
    Tcp {
        /// Whom.
        to: String,
        /// At which port.
        port: u16,
    },
    /// An HTTP GET; the answer is the body, after the status in the first line.
    Http {
        /// Whom.
        to: String,
        /// At which port.
        port: u16,
        /// What, from the slash on.
        path: String,
    },
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was reached, and said this. Servers of the grader say their name and whom they see: `web 192.168.1.2`.
    Said(String),
    /// It, or a router on the way, refused at once: the kernel's word for it.
    Refused(String),
    /// It took the connection, and said nothing in the time given: a page, say, that waits for a counter out of its reach.
    Connected,
    /// Nothing came back in the time given.
    Silence,
    /// The place to probe from does not exist: no such container.
    NobodyThere,
}

impl Answer {
    /// Whether the other was reached.
    pub fn reached(&self) -> bool {
        matches!(self, Answer::Said(_) | Answer::Connected)
    }
}

impl SessionRecord {
    fn step(&self, name: &str) -> Option<&StepKind> {
        self.steps.iter().find(|step| step.name == name).map(|step| &step.did)
    }

    /// Why a step was not taken.
    pub fn not_reached(&self) -> String {
        let cut = self.cut.as_ref();
        cut.map_or("it did not come to that".to_owned(), |why| format!("it did not come to that: {why}"))
    }

    /// The command line that was run under this name.
    pub fn command(&self, name: &str) -> Option<&CommandRun> {
        match self.step(name)? {
            StepKind::Command(command) => Some(command),
            _ => None,
        }
    }

    /// All command lines that were run.
    pub fn commands(&self) -> impl Iterator<Item = &CommandRun> {
        self.steps.iter().filter_map(|step| match &step.did {
            StepKind::Command(command) => Some(command),
            _ => None,
        })
    }

    /// The look that was taken under this name.
    pub fn look(&self, name: &str) -> Option<&Look> {
        match self.step(name)? {
            StepKind::Look(look) => Some(look),
            _ => None,
        }
    }

    /// The probe that was made under this name, in whatever step; none when it did not come to that.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        let probes = self.steps.iter().flat_map(|step| match &step.did {
            StepKind::Probes(probes) => probes.as_slice(),
            _ => &[],
        });
        probes.into_iter().find(|probe| probe.name == name)
    }

    /// Whether the other was reached in the probe of this name; false when it did not come to that.
    pub fn reached(&self, name: &str) -> bool {
        self.probe(name).is_some_and(|probe| probe.answer.reached())
    }

    /// The files that were read under this name.
    pub fn files(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        match self.step(name)? {
            StepKind::Read(files) => Some(files),
            _ => None,
        }
    }

    /// The process that was found under this name.
    pub fn found(&self, name: &str) -> Option<&Process> {
        match self.step(name)? {
            StepKind::Found(found) => found.as_deref(),
            _ => None,
        }
    }
}

impl Look {
    /// The process numbered `pid`, if it still is there.
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }
}

impl Network {
    /// The link with this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}
