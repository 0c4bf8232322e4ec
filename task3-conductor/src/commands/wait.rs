//! `conductor wait NAME…`: wait until containers exit.
//!
//! The pidfd of the first process becomes readable when it exits. Its parent reaps the exit code and writes it to a
//! file that existed before; a reader that has it open still gets the code after a container that removes itself is
//! gone. If the parent was killed, the kernel is asked: it keeps the exit code for holders of a pidfd (Linux 6.15).
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

/// Wait until containers exit, and print the exit code of each
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
    /// When a container does not exist, or its exit code is unknown.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| say(&format!("{}\n", exit_code(store, name)?)))
    }
}

fn exit_code(store: &Store, name: &ContainerName) -> Result<i32> {
    // Opened before asking whether it runs: whatever is written from now on is read.
    let exit_code = ExitCodeFile::open(&store.container_dir(name));
    let record = store.container(name)?;
    let mut kept = None;
    if let Some(init) = record.running()? {
        let parent = parent_of(&init);
        until_end(&init)?;
        // The parent writes the exit code and then exits.
        parent.as_ref().map_or(Ok(()), until_end)?;
        kept = init.exit();
    }
    exit_code.and_then(|exit_code| exit_code.read_when_settled()).or_else(|| kept.map(Exit::code)).ok_or_else(|| {
        let unseen = Error::new("print the exit code of", name, "it was not recorded");
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

/// The parent process; none when it has exited, and the exit code is lost.
fn parent_of(init: &PidFd) -> Option<PidFd> {
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", init.pid())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    let number: i32 = parent()?;
    let opened = PidFd::open(Pid::from_raw(number)).ok()?;
    // The child's parent is still that number, so the pidfd refers to the right process. The host's process 1 adopts
    // orphans and records nothing.
    //
    (parent() == Some(number) && number > 1).then_some(opened)
}
