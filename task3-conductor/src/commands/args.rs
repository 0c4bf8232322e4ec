//! Options that several commands share: those of a process and those of a container.

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

/// Options of a process, for `run` and `exec`.
#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// Allocate a terminal; the default when stdin and stdout are terminals
    #[arg(short, long)]
    tty: bool,
    /// Keep stdin open (always on; accepted for compatibility with `docker run -it`)
    #[arg(short, long)]
    interactive: bool,
    /// Set an environment variable; KEY alone takes the caller's value
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::typed)]
    env: Vec<Variable>,
    /// Read environment variables from a file, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<WorkingDirectory>,
    /// User and group, as names or numbers of the container
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<User>,
    /// Command and its arguments
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

/// Options of a container, for `run`.
#[derive(Debug, clap::Args)]
pub struct ContainerArgs {
    /// Run in the background; `logs` shows the output
    #[arg(short, long)]
    pub detach: bool,
    /// Remove the container when its first process exits
    #[arg(long)]
    rm: bool,
    /// Host name of the container
    #[arg(long, value_name = "NAME")]
    hostname: Option<Hostname>,
    /// Mount a file or folder of the host in the container
    #[arg(short, long, value_name = "SOURCE:PLACE[:ro]")]
    volume: Vec<Volume>,
    /// Mount an empty file system in memory; `exec` allows executing programs in it
    #[arg(long, value_name = "PLACE[:size=SIZE,exec]")]
    tmpfs: Vec<Tmpfs>,
    /// Size of /dev/shm; default: 64m
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    shm_size: Option<SharedMemory>,
    /// DNS server, instead of the host's; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Add an entry to /etc/hosts; can be repeated
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<HostsEntry>,
    /// Limit CPU time, as a number of cores
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    cpus: Option<Cpus>,
    /// Limit memory, for example 512m; beyond it, all processes of the container are killed (cgroup v1: one)
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<Memory>,
    /// Limit processes and threads; -1 for no limit; default: 1024
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<ProcessCount>,
    /// Mount the container's root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Run a small init as process 1: it forwards signals and reaps orphaned processes
    #[arg(long)]
    init: bool,
    /// Add a capability to the default set; ALL for all
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_add: Vec<CapabilityArg>,
    /// Drop a capability of the default set; ALL for all
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_drop: Vec<CapabilityArg>,
    /// Give extended privileges: all capabilities, the host's devices, no seccomp filter, no masked files
    #[arg(long, conflicts_with_all = ["cap_add", "cap_drop", "weak"])]
    privileged: bool,
    /// Disable one layer of isolation (for lessons)
    #[arg(long, value_name = "HOW", conflicts_with_all = ["cap_add", "cap_drop"])]
    weak: Option<Weakness>,
}

impl ProcessArgs {
    /// How the process's stdin, stdout and stderr are connected.
    ///
    /// # Errors
    /// Those of [`Stdio::choose`].
    pub fn stdio(&self, alone: bool) -> Result<Stdio> {
        let _ = self.interactive;
        Stdio::choose(self.tty, is_foreground(io::stdin().as_fd()), io::stdout().is_terminal(), alone)
    }

    /// The options of the process.
    ///
    /// # Errors
    /// When a file of variables cannot be read or parsed.
    pub fn options(self, stdio: Stdio) -> Result<ProcessOptions> {
        let mut variables = env::of_files(&self.env_file)?;
        // Variables on the command line override those in files.
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

/// Whether the descriptor is a terminal from which this process may read, i.e. it is not a background job of a shell.
fn is_foreground(terminal: BorrowedFd<'_>) -> bool {
    match nix::unistd::tcgetpgrp(terminal) {
        Ok(in_front) => in_front == nix::unistd::getpgrp(),
        // ENOTTY: not a terminal, or not the controlling one, which any process may read.
        Err(_) => terminal.is_terminal(),
    }
}

impl ContainerArgs {
    /// The options of the container; warns when it is a weak one.
    ///
    /// # Errors
    /// In words when the options contradict each other.
    pub fn options(self, process: ProcessOptions) -> Result<ContainerOptions> {
        let options =
            ConfinementOptions { privileged: self.privileged, weak: self.weak, add: self.cap_add, drop: self.cap_drop };
        let confinement = Confinement::from_options(&options)?;
        if let (Some(added), Some(user)) = (options.add.first(), process.user.as_ref().filter(|user| !user.is_root())) {
            let useless =
                Error::new("add", added, format!("only root has capabilities, and the process runs as {user}"));
            return Err(useless.hint("leave out --cap-add or --user; ports below 1024 need no capability here"));
        }
        if confinement.is_chroot() {
            remark(format_args!(
                "--weak disables isolation: root in this container can reach the whole host, so run nothing in it that you do not trust"
            ));
        }
        let cores = std::thread::available_parallelism().map_or(u32::MAX, |cores| cores.get() as u32);
        if let Some(cpus) = self.cpus.filter(|cpus| u64::from(cpus.quota_us) > u64::from(cores) * u64::from(PERIOD_US))
        {
            remark(format_args!("--cpus {cpus} has no effect: this host has {cores} cores"));
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
