//! `conductor wait NAME…`: wait for the end of containers.
//!
//! The descriptor of the first process tells of its end. Its exit code goes to its parent, which writes it into a file that
//! was there before; open, that can be read also when a container that removes itself has taken the name away. If the
//! parent was killed, the kernel is asked, which keeps the code for who holds a descriptor (Linux 6.15).
//!
//! Manual: pidfd_open(2), wait(2), unlink(2).

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::{Exit, PidFd};

use super::each;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::exit_code::ExitCodeFile;

/// Wait until containers have ended, and print the exit code of each
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor wait web
  conductor run -d mydebian job -- make && conductor wait job")]
pub struct Wait {
    /// Containers to wait for
    #[arg(required = true)]
    names: Vec<ContainerName>,
}

impl Wait {
    /// Waits for each in turn.
    ///
    /// # Errors
    /// When one is not there, or nobody saw what it ended with.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| say(&format!("{}\n", exit_code(store, name)?)))
    }
}

fn exit_code(store: &Store, name: &ContainerName) -> Result<i32> {
    // Opened before it is asked who runs: what is written from here on is read.
    let exit_code = ExitCodeFile::open(&store.container_dir(name));
    let record = store.container(name)?;
    let mut kept = None;
    if let Some(init) = record.running()? {
        let parent = parent_of(&init);
        until_end(&init)?;
        // Whoever waits for it as its parent writes the code down, and ends.
        parent.as_ref().map_or(Ok(()), until_end)?;
        kept = init.exit();
    }
    exit_code.and_then(|exit_code| exit_code.read_when_settled()).or_else(|| kept.map(Exit::code)).ok_or_else(|| {
        let unseen = Error::new("tell the exit code of", name, "nobody was there to see what it ended with");
        unseen.hint("the process that started it, or its monitor, was killed")
    })
}

fn until_end(process: &PidFd) -> Result<()> {
    let mut ends = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut ends, PollTimeout::NONE) {
            Err(Errno::EINTR) => (),
            polled => return polled.or_cannot("wait for", format_args!("process {}", process.pid())).map(drop),
        }
    }
}

/// The process that waits for it; none when that is gone already, and with it the exit code.
fn parent_of(init: &PidFd) -> Option<PidFd> {
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", init.pid())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    let number: i32 = parent()?;
    let opened = PidFd::open(Pid::from_raw(number)).ok()?;
    // Its child's parent is still that number, so the descriptor is of the right process. The host's first process
    // adopts orphans; it writes nothing down.
    (parent() == Some(number) && number > 1).then_some(opened)
}
