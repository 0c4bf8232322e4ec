//! A thread that ends when its owner drops it.
//!
//! The thread polls a pipe beside its work. Dropping the worker closes the writing end: poll(2) then reports the reading end as
//! hung up, the thread returns, and the owner joins it.
//!
//! Look: `ls /proc/PID/task` while a run is paused. Manual: pipe(7), poll(2).

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle};

use rustix::pipe::{PipeFlags, pipe_with};

/// The thread.
#[derive(Debug)]
pub struct Worker {
    /// Closed to end it.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread with this name; `run` gets the end of the pipe that is hung up when the thread must end.
    ///
    /// # Errors
    /// Those of pipe2(2) and of clone(2).
    pub fn start(name: &str, run: impl FnOnce(&OwnedFd) + Send + 'static) -> io::Result<Worker> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = Builder::new().name(name.to_owned()).spawn(move || run(&stopped))?;
        Ok(Worker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
