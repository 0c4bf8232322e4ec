//! Options that several commands have: what is said about a process, and what about a container.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nsutil::error::{Error, Result};

use crate::container::plan::{ContainerOptions, ProcessOptions, Stdio, WorkingDirectory};
use crate::hosts_file::{HostsEntry, ResolverOptions};
use crate::output::failure::remark;
use crate::spec::confinement::{CapabilityArg, Confinement, ConfinementOptions, Weakness};
use crate::spec::env;
use crate::spec::env::Variable;
use crate::spec::hostname::Hostname;
use crate::spec::resources::{Cpus, Memory, PERIOD_US, ProcessCount, ResourceLimits};
use crate::spec::user::User;
use crate::spec::volume;
use crate::spec::volume::{SharedMemory, Tmpfs, Volume};

/// About a process: `run` and `exec` have them.
#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// Give it a terminal of its own; the default when stdin and stdout are terminals
    #[arg(short, long)]
    tty: bool,
    /// Let it read stdin: so it does, this is for fingers that are used to `-it`
    #[arg(short, long)]
    interactive: bool,
    /// Add a variable to its environment; KEY alone has the caller's value
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::typed)]
    env: Vec<Variable>,
    /// Add the variables that stand in a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Start it in this folder of the container
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<WorkingDirectory>,
    /// Run it as this user: names or numbers, those of the container
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<User>,
    /// Command and its arguments
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

/// About a container: `run` has them.
#[derive(Debug, clap::Args)]
pub struct ContainerArgs {
    /// Return at once; `logs` shows what it prints
    #[arg(short, long)]
    pub detach: bool,
    /// Remove it when its first process ends
    #[arg(long)]
    rm: bool,
    /// Give it a host name of its own
    #[arg(long, value_name = "NAME")]
    hostname: Option<Hostname>,
    /// Let it see a file or folder of the host's
    #[arg(short, long, value_name = "SOURCE:PLACE[:ro]")]
    volume: Vec<Volume>,
    /// Let it have a file system in memory there, empty at first; `exec` lets programs in it be executed
    #[arg(long, value_name = "PLACE[:size=SIZE,exec]")]
    tmpfs: Vec<Tmpfs>,
    /// Size of its /dev/shm; 64m when nothing is said
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    shm_size: Option<SharedMemory>,
    /// Ask this server for names, and not the host's; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Let it know a further name; can be repeated
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<HostsEntry>,
    /// CPU time it may use, as a number of cores
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    cpus: Option<Cpus>,
    /// Memory it may use, such as 512m; when it is used up, all its processes are killed (cgroup v1: one)
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<Memory>,
    /// Processes and threads it may have at a time, or -1 for no limit; 1024 when nothing is said
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<ProcessCount>,
    /// Shut its root to writing
    #[arg(long)]
    read_only: bool,
    /// Put a reaper in front of the command: it hands signals on and waits for orphans
    #[arg(long)]
    init: bool,
    /// Give it a capability besides the usual ones; ALL for all
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_add: Vec<CapabilityArg>,
    /// Keep a usual capability from it; ALL for all
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_drop: Vec<CapabilityArg>,
    /// Keep nothing from it: all capabilities, the host's devices, no filter, no masks
    #[arg(long, conflicts_with_all = ["cap_add", "cap_drop", "weak"])]
    privileged: bool,
    /// For lessons: keep even less from it
    #[arg(long, value_name = "HOW", conflicts_with_all = ["cap_add", "cap_drop"])]
    weak: Option<Weakness>,
}

impl ProcessArgs {
    /// Who will talk to the process.
    ///
    /// # Errors
    /// Those of [`Stdio::choose`].
    pub fn stdio(&self, alone: bool) -> Result<Stdio> {
        let _ = self.interactive;
        Stdio::choose(self.tty, is_foreground(io::stdin().as_fd()), io::stdout().is_terminal(), alone)
    }

    /// What the user wishes.
    ///
    /// # Errors
    /// When a file of variables cannot be read or understood.
    pub fn options(self, stdio: Stdio) -> Result<ProcessOptions> {
        let mut variables = env::of_files(&self.env_file)?;
        // What is typed goes before what is filed.
        variables.extend(self.env);
        let kind = || std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
        Ok(ProcessOptions {
            command: self.command,
            variables,
            working_directory: self.workdir,
            user: self.user,
            terminal: (stdio == Stdio::Terminal).then(kind),
        })
    }
}

/// Whether that is a terminal, and this process may read from it: it is not in the background of a shell.
fn is_foreground(terminal: BorrowedFd<'_>) -> bool {
    match nix::unistd::tcgetpgrp(terminal) {
        Ok(in_front) => in_front == nix::unistd::getpgrp(),
        // ENOTTY: none at all, or not the one that controls us, which does not mind who reads.
        Err(_) => terminal.is_terminal(),
    }
}

impl ContainerArgs {
    /// What the user wishes; says so when it is a weak container.
    ///
    /// # Errors
    /// In words when the options contradict each other.
    pub fn options(self, process: ProcessOptions) -> Result<ContainerOptions> {
        let options =
            ConfinementOptions { privileged: self.privileged, weak: self.weak, add: self.cap_add, drop: self.cap_drop };
        let confinement = Confinement::from_options(&options)?;
        if let (Some(added), Some(user)) = (options.add.first(), process.user.as_ref().filter(|user| !user.is_root())) {
            let useless = Error::new("add", added, format!("only root has capabilities, and it runs as {user}"));
            return Err(useless.hint("leave out --cap-add or --user; a port below 1024 takes no capability here"));
        }
        if confinement.is_chroot() {
            remark(format_args!(
                "this container is weak on purpose: root in it reaches the whole host, so run nothing in it that you do not trust"
            ));
        }
        let cores = std::thread::available_parallelism().map_or(u32::MAX, |cores| cores.get() as u32);
        if let Some(cpus) = self.cpus.filter(|cpus| u64::from(cpus.quota_us) > u64::from(cores) * u64::from(PERIOD_US))
        {
            remark(format_args!("{cpus} cores limit nothing: there are {cores} here"));
        }
        let in_memory = self.tmpfs.into_iter().map(|Tmpfs(volume)| volume);
        let in_memory = in_memory.chain(self.shm_size.map(|SharedMemory(volume)| volume));
        Ok(ContainerOptions {
            process,
            hostname: self.hostname,
            remove_at_end: self.rm,
            limits: ResourceLimits { cpus: self.cpus, memory: self.memory, processes: self.pids_limit },
            volumes: volume::in_mount_order(self.volume.into_iter().chain(in_memory).collect())?,
            read_only: self.read_only,
            names: ResolverOptions { servers: self.dns, hosts: self.add_host },
            confinement,
            has_reaper: self.init,
        })
    }
}
