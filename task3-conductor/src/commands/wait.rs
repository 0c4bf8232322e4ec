//! `conductor wait NAME…`: wait for the end of containers.
//!
//! The descriptor of the first process tells of its end; its exit code goes to its parent, which writes it down for us. A
//! container that removes itself takes that note with it: then the kernel is asked, which keeps it for who holds a
//! descriptor (Linux 6.15).
//!
//! Manual: pidfd_open(2), inotify(7).

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::{Exit, PidFd};
use rustix::fs::inotify;

use super::each;
use crate::cli::say;
use crate::failure::Failure;
use crate::name::ContainerName;
use crate::store::Store;

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
    // Watched before it is looked at: what is written in between is seen.
    let noted = watch(store, name)?;
    let record = store.container(name)?;
    if let Some(init) = record.running()? {
        let parent = parent_of(&init);
        until_end(&init)?;
        // Whoever waits for it as its parent writes the code down, and ends.
        while let Some(parent) = &parent {
            if store.exit_code(name).is_some() || until_note_or_end(&noted, parent)? {
                break;
            }
        }
        if let Some(code) = store.exit_code(name).or_else(|| init.exit().map(Exit::code)) {
            return Ok(code);
        }
    }
    store.exit_code(name).ok_or_else(|| {
        let unseen = Error::new("tell the exit code of", name, "nobody was there to see what it ended with");
        unseen.hint("the process that started it, or its monitor, was killed")
    })
}

fn until_end(init: &PidFd) -> Result<()> {
    let mut ends = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut ends, PollTimeout::NONE) {
            Err(Errno::EINTR) => (),
            polled => return polled.or_cannot("wait for", format_args!("process {}", init.pid())).map(drop),
        }
    }
}

/// Waits until something is written into the folder, or the parent has ended: then it is true.
fn until_note_or_end(noted: &OwnedFd, parent: &PidFd) -> Result<bool> {
    let mut ends = [PollFd::new(noted.as_fd(), PollFlags::POLLIN), PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ends, PollTimeout::NONE) {
        Err(Errno::EINTR) => return Ok(false),
        polled => polled.or_cannot("wait for", "the exit code")?,
    };
    if ends[0].any().unwrap_or(false) {
        let mut events = [0; 4096];
        rustix::io::read(noted, &mut events).or_cannot("watch", "the container's folder")?;
        return Ok(false);
    }
    Ok(true)
}

fn watch(store: &Store, name: &ContainerName) -> Result<OwnedFd> {
    let path = store.container_dir(name);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).or_cannot("watch", path.display())?;
    let events = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF;
    match inotify::add_watch(&watch, &path, events) {
        Err(rustix::io::Errno::NOENT) => Err(store.no_such_container(name)),
        added => added.or_cannot("watch", path.display()).map(|_| watch),
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
