//! Fault injection: a program is killed, fails or waits just before a chosen step.
//!
//! A test of what a program leaves behind when it dies between two system calls cannot wait for that to happen by
//! chance. Every step on the kernel has a name and is announced before it is taken (see the module `step`), so a test
//! can choose one by the environment variable [`VARIABLE`]:
//!
//! | value | what happens |
//! |---|---|
//! | `tell:FILE` | the point of each step is appended to FILE, one per line |
//! | `kill@POINT` | the process is killed there |
//! | `fail:ERRNO@POINT` | the step is not taken and fails with this errno, a number |
//! | `wait:DIR@POINT` | the point is appended to `DIR/hit`; the process waits for a byte from the FIFO `DIR/go` |
//!
//! A second variable, [`STRUCK`], names a file to which the point of an injected fault is appended, so that a test can
//! check that its fault was injected.
//!
//! A point is `LINEAGE/STEP#N`: the N-th time that a process reaches the step. The lineage distinguishes the processes
//! of a command: empty for the program itself, `2` for its second child, `2.1` for the first child of that.
//!
//! Installed programs do not contain this: the module is behind the feature `failpoints`, which only dev-dependencies
//! enable, and `cargo build` ignores those. Look: `NSUTIL_FAILPOINT=tell:/dev/stderr target/debug/conductor ps` after
//! `cargo test`, and the same after `cargo build`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};

use crate::error::{Error, OrCannot, Result};
use crate::sys;

/// Variable with the fault to inject, and where.
pub const VARIABLE: &str = "NSUTIL_FAILPOINT";
/// Variable with the file that records injected faults.
pub const STRUCK: &str = "NSUTIL_FAILPOINT_STRUCK";
/// Exit code of a killed process as in a shell: 128 + 9.
const KILLED: i32 = 137;

/// What a function returns when its step is not taken.
pub trait Refusal {
    /// The return value for an injected error.
    fn from_error(error: Error) -> Self;
}

impl<T, E: From<Error>> Refusal for Result<T, E> {
    fn from_error(error: Error) -> Self {
        Err(E::from(error))
    }
}

/// For functions that return whether they succeeded.
impl Refusal for bool {
    fn from_error(_: Error) -> Self {
        false
    }
}

/// For functions that ignore errors.
impl Refusal for () {
    fn from_error(_: Error) -> Self {}
}

/// The fault to inject. Files are opened when the first step is announced: a child with another root could not find
/// them.
#[derive(Debug)]
enum Fault {
    Tell(File),
    Kill(String),
    Fail(Errno, String),
    Wait { hit: File, go: File, point: String },
}

/// The settings from the environment.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    struck: Option<File>,
}

/// Current position of the process.
#[derive(Debug)]
struct Position {
    process: u32,
    lineage: String,
    /// How often it has reached each step.
    counts: BTreeMap<&'static str, u32>,
}

static PLAN: OnceLock<Result<Option<Plan>>> = OnceLock::new();
static POSITION: Mutex<Position> = Mutex::new(Position { process: 0, lineage: String::new(), counts: BTreeMap::new() });

/// Called before each step: injects the fault if this is its point.
///
/// # Errors
/// The injected one; in words when the variable is invalid.
pub fn reach(step: &'static str) -> Result<()> {
    let plan = PLAN.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(text) => Plan::read(&text).map(Some),
        Err(_) => Ok(None),
    });
    let Some(Plan { fault, struck }) = plan.as_ref().map_err(Clone::clone)? else { return Ok(()) };
    let position = POSITION.lock().unwrap_or_else(PoisonError::into_inner).point(std::process::id(), step);
    let note = || struck.as_ref().map_or(Ok(()), |file| append_line(file, &position));
    match fault {
        Fault::Tell(file) => append_line(file, &position),
        Fault::Kill(point) if *point == position => {
            note()?;
            die_as_if_killed()
        }
        Fault::Fail(errno, point) if *point == position => {
            note()?;
            Err(*errno).or_cannot("take step", position)
        }
        Fault::Wait { hit, go, point } if *point == position => {
            append_line(hit, &position)?;
            (&mut &*go).read_exact(&mut [0]).or_cannot("wait at", position)
        }
        _ => Ok(()),
    }
}

impl Position {
    /// The name of the point when the process reaches `step`.
    fn point(&mut self, process: u32, step: &'static str) -> String {
        if self.process != process && self.process != 0 {
            // A child has a copy of its parent's counters, so it knows which child it is.
            let which = self.counts.get("clone3").copied().unwrap_or(0);
            let dot = if self.lineage.is_empty() { "" } else { "." };
            self.lineage.push_str(&format!("{dot}{which}"));
            self.counts.clear();
        }
        self.process = process;
        let count = self.counts.entry(step).or_insert(0);
        *count += 1;
        format!("{}/{step}#{count}", self.lineage)
    }
}

impl Plan {
    fn read(text: &str) -> Result<Self> {
        let struck = std::env::var_os(STRUCK).map(|path| append(Path::new(&path))).transpose()?;
        Ok(Self { fault: Fault::read(text)?, struck })
    }
}

impl Fault {
    fn read(text: &str) -> Result<Self> {
        let malformed = |what: &str| Error::new("understand", format_args!("{VARIABLE}={text}"), what);
        if let Some(path) = text.strip_prefix("tell:") {
            return append(Path::new(path)).map(Self::Tell);
        }
        let (action, point) = text.split_once('@').ok_or_else(|| malformed("no @POINT"))?;
        let point = point.to_owned();
        match action.split_once(':') {
            None if action == "kill" => Ok(Self::Kill(point)),
            Some(("fail", number)) => {
                let number = number.parse().map_err(|_| malformed("the number of an error is wanted"))?;
                Ok(Self::Fail(Errno::from_raw(number), point))
            }
            Some(("wait", dir)) => {
                let (hit, go) = (append(&Path::new(dir).join("hit"))?, Path::new(dir).join("go"));
                // Read-write: then opening a FIFO does not block.
                let go = File::options().read(true).write(true).open(&go).or_cannot("open", go.display())?;
                Ok(Self::Wait { hit, go, point })
            }
            _ => Err(malformed("no such action")),
        }
    }
}

fn append(path: &Path) -> Result<File> {
    File::options().append(true).create(true).open(path).or_cannot("open", path.display())
}

fn append_line(mut file: &File, point: &str) -> Result<()> {
    file.write_all(format!("{point}\n").as_bytes()).or_cannot("tell of", point)
}

fn die_as_if_killed() -> ! {
    // For process 1 of a PID namespace the kernel drops even SIGKILL from within. See pid_namespaces(7).
    let _ = raise(Signal::SIGKILL);
    sys::exit_now(KILLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_names_the_process_by_its_ancestors_and_counts_what_it_did() {
        let mut position = Position { process: 0, lineage: String::new(), counts: BTreeMap::new() };
        assert_eq!(position.point(10, "mkdir"), "/mkdir#1");
        assert_eq!(position.point(10, "clone3"), "/clone3#1");
        assert_eq!(position.point(10, "mkdir"), "/mkdir#2");
        let mut child =
            Position { process: position.process, lineage: position.lineage.clone(), counts: position.counts.clone() };
        assert_eq!(child.point(11, "mkdir"), "1/mkdir#1");
        assert_eq!(child.point(11, "clone3"), "1/clone3#1");
        // In a PID namespace of its own.
        assert_eq!(child.point(1, "mkdir"), "1.1/mkdir#1");
        assert_eq!(position.point(10, "clone3"), "/clone3#2");
        assert_eq!(position.point(12, "mkdir"), "2/mkdir#1");
    }

    #[test]
    fn faults_are_parsed_and_invalid_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Fault::read("kill@/mkdir#1").unwrap(), Fault::Kill(point) if point == "/mkdir#1"));
        let fail = Fault::read("fail:28@1/mount#2").unwrap();
        assert!(matches!(fail, Fault::Fail(Errno::ENOSPC, point) if point == "1/mount#2"));
        let told = format!("tell:{}", dir.path().join("told").display());
        assert!(matches!(Fault::read(&told).unwrap(), Fault::Tell(_)));
        for wrong in ["", "kill", "die@/x#1", "fail@/x#1", "fail:EIO@/x#1", "wait:/no/such/folder@/x#1"] {
            assert!(Fault::read(wrong).is_err(), "{wrong}");
        }
    }
}
