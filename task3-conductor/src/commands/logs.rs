//! `conductor logs NAME`: what a detached container has printed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use rustix::fs::inotify;

use crate::name::ContainerName;
use crate::runtime::monitor::LOG;
use crate::store::Store;

/// Show what a detached container has printed
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor logs web
  conductor logs -f web | grep error")]
pub struct Logs {
    /// Container whose log to show
    name: ContainerName,
    /// Go on with what it prints from now on, until it ends
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    /// Copies the log to stdout, byte for byte.
    ///
    /// # Errors
    /// In words when there is no such container, or it is not a detached one.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let record = store.container(&self.name)?;
        let path = store.container_dir(&self.name).join(LOG);
        let mut log = File::open(&path).map_err(|_| {
            Error::new("show", format_args!("the log of {}", self.name), "it has none")
                .hint("a container that was started without --detach prints on its starter's terminal")
        })?;
        if !self.follow {
            copy(&mut log)?;
            return Ok(ExitCode::SUCCESS);
        }
        let running = record.running()?;
        let grows = watch(&path)?;
        loop {
            // Asked before the reading: what it wrote until its end is read too.
            let ended = running.as_ref().map_or(Ok(true), PidFd::has_ended)?;
            copy(&mut log)?;
            let Some(init) = running.as_ref().filter(|_| !ended) else { return Ok(ExitCode::SUCCESS) };
            let mut ends =
                [PollFd::new(grows.as_fd(), PollFlags::POLLIN), PollFd::new(init.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ends, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => (),
                polled => drop(polled.or_cannot("wait for", path.display())?),
            }
            if ends[0].any().unwrap_or(false) {
                let mut events = [0; 4096];
                rustix::io::read(&grows, &mut events).or_cannot("watch", path.display())?;
            }
        }
    }
}

fn watch(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).or_cannot("watch", path.display())?;
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).or_cannot("watch", path.display())?;
    Ok(watch)
}

fn copy(log: &mut File) -> Result<()> {
    let mut out = io::stdout();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = log.read(&mut buffer).or_cannot("read", "the log")?;
        let Some(text) = buffer.get(..count).filter(|text| !text.is_empty()) else { break };
        out.write_all(text).or_cannot("write to", "stdout")?;
    }
    out.flush().or_cannot("write to", "stdout")
}
