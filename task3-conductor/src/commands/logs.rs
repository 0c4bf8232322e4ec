//! `conductor logs NAME`: the output of a detached container.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use rustix::fs::inotify;

use crate::container::monitor::LOG;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::exit_code::ExitCodeFile;

/// Show the output of a detached container
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor logs web
  conductor logs --tail 20 web
  conductor logs -f web | grep error")]
pub struct Logs {
    /// Container whose log to show
    name: ContainerName,
    /// Follow the log until the container exits
    #[arg(short, long)]
    follow: bool,
    /// Start with this many of the last lines, instead of the beginning
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<u64>,
}

impl Logs {
    /// Copies the log to stdout, byte for byte.
    ///
    /// # Errors
    /// In words when there is no such container, or it is not a detached one.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        // Opened before asking whether the container runs: the monitor writes the file after it has copied all output.
        let exit_code = ExitCodeFile::open(&store.container_dir(&self.name));
        let record = store.container(&self.name)?;
        let running = record.running()?;
        if running.is_none() {
            exit_code.as_ref().and_then(ExitCodeFile::read_when_settled);
        }
        let path = store.container_dir(&self.name).join(LOG);
        let mut log = File::open(&path).map_err(|_| {
            Error::new("show", format_args!("the log of {}", self.name), "it was not started with --detach")
                .hint("an attached container prints to the terminal of `conductor run`")
        })?;
        // Later output is only for --follow: it may be endless.
        let end = log.metadata().or_cannot("look at", "the log")?.len();
        let start = self.tail.map_or(Ok(0), |lines| start_of_last(lines, end, &mut log));
        let start = start.and_then(|start| log.seek(SeekFrom::Start(start)));
        let start = start.or_cannot("look for the last lines of", "the log")?;
        if !self.follow {
            copy(&mut log.take(end - start))?;
            return Ok(ExitCode::SUCCESS);
        }
        let grows = watch(&path)?;
        loop {
            let ended = running.as_ref().map_or(Ok(true), PidFd::has_ended)?;
            if ended {
                // The log then has all output until the end.
                exit_code.as_ref().and_then(ExitCodeFile::read_when_settled);
            }
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

/// Offset of the last `lines` lines; the very last may lack a newline. Reads backwards, because logs are long.
fn start_of_last(lines: u64, end: u64, log: &mut (impl Read + Seek)) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    if lines == 0 {
        return Ok(end);
    }
    let (mut begun, mut known) = (0, end);
    while known > 0 {
        let from = known.saturating_sub(PIECE);
        let mut piece = Vec::new();
        log.seek(SeekFrom::Start(from))?;
        log.take(known - from).read_to_end(&mut piece)?;
        let ends = piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        for begin in ends.map(|(index, _)| from + index as u64 + 1).filter(|begin| *begin < end) {
            begun += 1;
            if begun == lines {
                return Ok(begin);
            }
        }
        known = from;
    }
    Ok(0)
}

fn watch(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).or_cannot("watch", path.display())?;
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).or_cannot("watch", path.display())?;
    Ok(watch)
}

fn copy(log: &mut impl Read) -> Result<()> {
    let mut out = io::stdout();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = log.read(&mut buffer).or_cannot("read", "the log")?;
        let Some(text) = buffer.get(..count).filter(|text| !text.is_empty()) else { break };
        out.write_all(text).or_cannot("write to", "stdout")?;
    }
    out.flush().or_cannot("write to", "stdout")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_last_lines_are_found_whether_the_very_last_has_an_end_or_not() {
        let last = |lines, text: &str| {
            let start = start_of_last(lines, text.len() as u64, &mut Cursor::new(text)).unwrap();
            text[start as usize..].to_owned()
        };
        assert_eq!(last(2, "a\nb\nc\n"), "b\nc\n");
        assert_eq!(last(2, "a\nb\nc"), "b\nc");
        assert_eq!(last(1, "a\n\n"), "\n");
        assert_eq!((last(0, "a\n"), last(9, "a\nb\n"), last(1, "")), (String::new(), "a\nb\n".into(), String::new()));
        let long = format!("first\n{}\nlast\n", "x".repeat(200 << 10));
        assert_eq!(last(1, &long), "last\n");
        assert_eq!(last(2, &long).len(), (200 << 10) + 6);
        assert_eq!(last(3, &long), long);
    }
}
