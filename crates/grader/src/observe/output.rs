//! The program's output, read as it comes.
//!
//! Manual: pipe(7), pty(7).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sampler::{Cut, Watch};
use crate::record::Output;
use crate::sandbox::Sandbox;

/// Most bytes of one run, both streams together.
pub const MOST_BYTES: usize = 1 << 20;

/// What came out so far.
#[derive(Debug, Default)]
pub struct Collected {
    streams: Mutex<[Vec<u8>; 2]>,
    cut: Mutex<bool>,
}

impl Collected {
    /// Adds `bytes` of stream 1 or 2; false once the limit is reached.
    pub fn add(&self, stream: usize, bytes: &[u8]) -> bool {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_BYTES.saturating_sub(streams.iter().map(Vec::len).sum());
        if let Some(kept) = streams.get_mut(stream.saturating_sub(1)) {
            kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        let fits = bytes.len() <= room;
        if !fits {
            *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        fits
    }

    /// How many bytes of a stream are there by now.
    pub fn length(&self, stream: usize) -> usize {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream.saturating_sub(1)).map_or(0, Vec::len)
    }

    /// What has come of a stream since it was `from` bytes long.
    pub fn since(&self, stream: usize, from: usize) -> Vec<u8> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream.saturating_sub(1)).and_then(|kept| kept.get(from..)).unwrap_or_default().to_vec()
    }

    /// The output as a person sees it: lossy UTF-8, and `\n` where a terminal wrote `\r\n`.
    pub fn into_output(self) -> Output {
        let [stdout, stderr] = self.streams.into_inner().unwrap_or_else(PoisonError::into_inner);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        let cut = self.cut.into_inner().unwrap_or_else(PoisonError::into_inner);
        Output { stdout: text(&stdout), stderr: text(&stderr), cut }
    }
}

/// Reads streams until their last writer has closed them; ends the box when they bring more than [`MOST_BYTES`].
pub fn read_all(streams: Vec<(usize, OwnedFd)>, collected: &Collected, host: &Sandbox, watch: &Watch) {
    let mut open: Vec<(usize, File)> = streams.into_iter().map(|(stream, fd)| (stream, File::from(fd))).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !open.is_empty() {
        let mut fds: Vec<PollFd<'_>> =
            open.iter().map(|(_, file)| PollFd::new(file.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut still = Vec::new();
        for ((stream, mut file), ready) in open.into_iter().zip(ready) {
            // After the last writer has closed it, a terminal returns EIO and a pipe 0 bytes.
            let got = if ready { file.read(&mut buffer).unwrap_or(0) } else { usize::MAX };
            if got == 0 {
                continue;
            }
            if ready && !collected.add(stream, buffer.get(..got).unwrap_or_default()) {
                watch.cut(host, Cut::Output);
            }
            still.push((stream, file));
        }
        open = still;
    }
}
