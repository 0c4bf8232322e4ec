//! Relays a process's output to files of the caller, without giving it the files' descriptors.
//!
//! A descriptor gives more than the right to append. `echo x > /dev/stdout` opens `/proc/self/fd/1`, which refers to
//! the file itself, and `O_TRUNC` empties it, whatever flags the caller opened it with; `O_APPEND` does not help, an
//! append-only file (chattr +a) cannot be opened that way at all, and neither can a socket. A *pipe* can be opened and
//! cannot be truncated. So if a log or a file of the caller is behind stdout or stderr, the process gets a pipe, and
//! conductor's process that stays with it copies. Pipes, terminals and devices are passed on unchanged. A file behind
//! stdin is passed through a read-only mount of it.
//!
//! The costs are one copy, and a dependency: if the copying process is killed, writing inside fails with `EPIPE`.
//!
//! Look: `conductor run -d IMAGE NAME -- sh -c 'echo 1; echo 2 > /dev/stdout'; conductor logs NAME`. Manual: pipe(7),
//! proc_pid_fd(5), open(2).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, getpid, setsid};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached};
use nsutil::namespace::{self, Kind};
use nsutil::process::{PidFd, SpawnOptions, close_inherited_descriptors, spawn};
use nsutil::step;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::PipeFlags;

/// The reading end of a pipe, and where to copy its data.
#[derive(Debug)]
pub struct Relay {
    pipe: OwnedFd,
    to: File,
    when_full: WhenFull,
    /// Number of bytes that could not be written, and the error.
    lost: Option<(usize, Errno)>,
}

/// What to do when writing to the file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// Close the pipe: the process's next write fails, as if it wrote to the file itself.
    Fail,
    /// Continue, and note the number of missing bytes in the file once writing works again.
    Continue,
}

/// Replacements for the caller's stdin, stdout and stderr.
#[derive(Debug, Default)]
pub struct ReplacedStdio {
    /// Replaces stdin.
    pub stdin: Option<File>,
    /// Replaces stdout.
    pub stdout: Option<OwnedFd>,
    /// Replaces stderr.
    pub stderr: Option<OwnedFd>,
}

/// Size of a copy: the minimum capacity of a pipe.
const PIECE: usize = 16 << 10;

impl Relay {
    /// A relay to the log `to`, and the writing end of its pipe.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn to_log(to: File) -> Result<(Self, OwnedFd)> {
        Self::new(to, WhenFull::Continue)
    }

    fn new(to: File, when_full: WhenFull) -> Result<(Self, OwnedFd)> {
        step!("relay", call: "pipe2(O_CLOEXEC)";
            why: "a process could truncate a file by opening /dev/stdout; a pipe cannot be truncated";
            shell: "COMMAND | cat >> FILE");
        let (pipe, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).or_cannot("make", "a pipe")?;
        // O_NONBLOCK for our end only.
        rustix::io::ioctl_fionbio(&pipe, true).or_cannot("prepare", "a pipe")?;
        Ok((Self { pipe, to, when_full, lost: None }, end))
    }

    /// A relay to `stream`, if that is a regular file.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn replacing(stream: BorrowedFd<'_>) -> Result<Option<(Self, OwnedFd)>> {
        if !is_file(stream) {
            return Ok(None);
        }
        let copy = stream.try_clone_to_owned().or_cannot("hand on", "a stream")?;
        Self::new(File::from(copy), WhenFull::Fail).map(Some)
    }

    /// Copies until `process` has exited and everything it wrote has been copied. Returns whether other processes can
    /// still write.
    ///
    /// # Errors
    /// `ENOSPC` … when the file is not a log.
    pub fn copy_until_end_of(&mut self, process: BorrowedFd<'_>) -> Result<bool> {
        self.copy(Some(process))
    }

    fn copy(&mut self, process: Option<BorrowedFd<'_>>) -> Result<bool> {
        let mut buffer = [0; PIECE];
        loop {
            // Checked before reading, so that everything written before the exit is read.
            let has_ended = process.map_or(Ok(false), |process| is_readable(process, PollTimeout::ZERO))?;
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.put(buffer.get(..count).unwrap_or_default())?,
                Err(rustix::io::Errno::INTR) => (),
                Err(rustix::io::Errno::AGAIN) if has_ended => return Ok(true),
                Err(rustix::io::Errno::AGAIN) => {
                    let ends = [Some(self.pipe.as_fd()), process];
                    let mut ends: Vec<PollFd<'_>> =
                        ends.into_iter().flatten().map(|end| PollFd::new(end, PollFlags::POLLIN)).collect();
                    match poll(&mut ends, PollTimeout::NONE) {
                        Err(Errno::EINTR) => (),
                        polled => drop(polled.or_cannot("wait for", "what is printed")?),
                    }
                }
                Err(errno) => return Err(errno).or_cannot("read", "what is printed"),
            }
        }
    }

    fn put(&mut self, text: &[u8]) -> Result<()> {
        let (mut lost, mut why) = self.lost.take().unwrap_or((0, Errno::ENOSPC));
        let note = format!("\nconductor: {lost} bytes are missing here: {}\n", why.desc());
        let mut written = if lost > 0 { self.to.write_all(note.as_bytes()) } else { Ok(()) };
        let mut left = text;
        while written.is_ok() && !left.is_empty() {
            match self.to.write(left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => written = Err(error),
            }
        }
        match written {
            Ok(()) => Ok(()),
            Err(error) if self.when_full == WhenFull::Continue => {
                lost += left.len();
                why = error.raw_os_error().map_or(why, Errno::from_raw);
                self.lost = Some((lost, why));
                Ok(())
            }
            Err(error) => Err(Error::new("write", "what is printed to the caller's file", error)),
        }
    }
}

impl ReplacedStdio {
    /// Creates replacements for the caller's streams, and their relays.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is free.
    pub fn of_caller() -> Result<(Self, Vec<Relay>)> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut relays = Vec::new();
        let mut pipe = |stream: BorrowedFd<'_>| -> Result<Option<OwnedFd>> {
            let Some((relay, end)) = Relay::replacing(stream)? else { return Ok(None) };
            relays.push(relay);
            Ok(Some(end))
        };
        let out = pipe(stdout.as_fd())?;
        // One pipe for both, as with `2>&1`: the order is kept.
        let err = match &out {
            Some(out) if is_same(stdout.as_fd(), stderr.as_fd()) => {
                Some(out.try_clone().or_cannot("hand on", "a stream")?)
            }
            _ => pipe(stderr.as_fd())?,
        };
        Ok((Self { stdin: read_only(stdin.as_fd()), stdout: out, stderr: err }, relays))
    }

    /// Closes the writing ends, which the process has by now. Returns stdin's replacement, to restore the file offset.
    pub fn close(self) -> Option<File> {
        self.stdin
    }
}

/// Moves the caller's file offset of stdin to where the process has read.
pub fn restore_stdin_offset(given: Option<File>) {
    if let Some(mut given) = given {
        if let Ok(at) = given.stream_position() {
            // It may have been closed.
            let _ = rustix::fs::seek(io::stdin(), rustix::fs::SeekFrom::Start(at));
        }
    }
}

/// Copies the output of `process` while `wait` waits for it; kills it if `wait` fails. Returns the relays into which
/// other processes can still write.
///
/// # Errors
/// Those of `wait`, and of the copying.
pub fn copy_while<T>(relays: Vec<Relay>, process: &PidFd, wait: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Relay>)> {
    if relays.is_empty() {
        return wait().map(|waited| (waited, Vec::new()));
    }
    // After `exec` children are created in the container's PID namespace, and then the kernel refuses threads. See
    // clone(2), EINVAL.
    namespace::join(&PidFd::open(getpid())?, &[Kind::Pid])?;
    thread::scope(|scope| {
        let copy = |mut relay: Relay| {
            // On an error the relay, and so the reading end, is dropped here.
            let may_be_more = relay.copy_until_end_of(process.as_fd())?;
            Ok(may_be_more.then_some(relay))
        };
        let copying: Vec<_> = relays.into_iter().map(|relay| scope.spawn(move || copy(relay))).collect();
        let waited = wait();
        if waited.is_err() {
            // The failed wait may be due to the process still running.
            let _ = process.signal(Signal::SIGKILL);
        }
        let mut open = Vec::new();
        let mut copied = Ok(());
        for thread in copying {
            match thread.join().unwrap_or_else(|_| Err(Error::new("copy", "what is printed", "it broke off"))) {
                Ok(relay) => open.extend(relay),
                Err(error) => copied = Err(error),
            }
        }
        let waited = waited?;
        copied.map(|()| (waited, open))
    })
}

/// Spawns a background process that goes on copying for processes that a command has left running.
///
/// # Errors
/// Those of clone(2).
pub fn copy_in_background(mut relays: Vec<Relay>) -> Result<()> {
    if relays.is_empty() {
        return Ok(());
    }
    let child = spawn(SpawnOptions::default(), |report| {
        report.outlive_parent()?;
        setsid().or_cannot("begin", "a session")?;
        close_inherited_descriptors()?;
        detach_from_caller()?;
        thread::scope(|scope| {
            for relay in &mut relays {
                // Errors cannot be reported any more.
                scope.spawn(|| relay.copy(None));
            }
        });
        Ok(0)
    })?;
    child.release();
    Ok(())
}

/// Replaces stdin, stdout and stderr by /dev/null, so that `$(…)` returns, and leaves the caller's working directory.
pub fn detach_from_caller() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").or_cannot("open", "/dev/null")?;
    dup2_stdin(&null).or_cannot("let go of", "stdin")?;
    dup2_stdout(&null).or_cannot("let go of", "stdout")?;
    dup2_stderr(&null).or_cannot("let go of", "stderr")?;
    chdir("/").or_cannot("enter", "/")
}

/// The file behind stdin, opened through a read-only mount at the same offset; none if it is not a regular file, is
/// open for writing too, or is in another mount namespace.
fn read_only(stdin: BorrowedFd<'_>) -> Option<File> {
    let flags = rustix::fs::fcntl_getfl(stdin).ok()?;
    if !is_file(stdin) || flags.contains(OFlags::RDWR) {
        return None;
    }
    let mount = Detached::of_file(stdin, "stdin").ok()?;
    let mount = mount.restrict(Attributes { read_only: true, ..Attributes::default() }).ok()?.into_descriptor();
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let mut opened = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?);
    let at = rustix::fs::tell(stdin).ok()?;
    opened.seek(SeekFrom::Start(at)).ok()?;
    Some(opened)
}

fn is_file(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::RegularFile)
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |stream| rustix::fs::fstat(stream).map(|about| nsutil::rooted::file_id(&about)).ok();
    identity(one).is_some() && identity(one) == identity(other)
}

fn is_readable(end: BorrowedFd<'_>, patience: PollTimeout) -> Result<bool> {
    let mut ends = [PollFd::new(end, PollFlags::POLLIN)];
    match poll(&mut ends, patience) {
        Err(Errno::EINTR) => Ok(false),
        polled => polled.or_cannot("look at", "a process").map(|count| count > 0),
    }
}
