//! Faults on demand: a program is killed, fails or waits just before a step that a test chose.
//!
//! What a program leaves behind when it ends between two system calls cannot be found by waiting for it to happen. Every
//! step on the kernel has a name and is announced before it is taken (see the module `step`), so a test can say where. It does
//! so by a variable of the environment, [`VARIABLE`]:
//!
//! | value | what happens |
//! |---|---|
//! | `tell:FILE` | the point of each step is added to FILE, a line each |
//! | `kill@POINT` | the process is killed there |
//! | `fail:ERRNO@POINT` | the step is not taken and fails with this number |
//! | `wait:DIR@POINT` | the point is added to `DIR/hit`; the process goes on when a byte comes through the FIFO `DIR/go` |
//!
//! A second variable, [`STRUCK`], names a file: the point at which the fault strikes is added to it. A test can then require
//! that its fault was met, and was not a point that nothing comes to any more.
//!
//! A point is `LINEAGE/STEP#N`: the N-th time that a process comes to the step. The lineage tells the processes of a
//! command apart: empty is the program itself, `2` its second child, `2.1` the first child of that.
//!
//! None of this is in a program that is installed: the module belongs to the feature `failpoints`, which only
//! dev-dependencies ask for, and cargo leaves those out of `cargo build`. Look: `NSUTIL_FAILPOINT=tell:/dev/stderr
//! target/debug/conductor ps` after `cargo test`, and the same after `cargo build`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};

use crate::error::{Error, OrCannot, Result};
use crate::sys;

/// Says what is to happen, and where.
pub const VARIABLE: &str = "NSUTIL_FAILPOINT";
/// Names the file in which a fault that strikes is noted.
pub const STRUCK: &str = "NSUTIL_FAILPOINT_STRUCK";
/// How a shell shows a process that was killed: 128 + 9.
const KILLED: i32 = 137;

/// What a function returns when a step of its is not taken.
pub trait Refusal {
    /// That, because of this.
    fn from_error(error: Error) -> Self;
}

impl<T, E: From<Error>> Refusal for Result<T, E> {
    fn from_error(error: Error) -> Self {
        Err(E::from(error))
    }
}

/// For functions whose answer is whether it worked.
impl Refusal for bool {
    fn from_error(_: Error) -> Self {
        false
    }
}

/// For those that try and do not tell.
impl Refusal for () {
    fn from_error(_: Error) -> Self {}
}

/// What is to happen. The files are opened when the first step is announced: a child that has another root would not find
/// them any more.
#[derive(Debug)]
enum Fault {
    Tell(File),
    Kill(String),
    Fail(Errno, String),
    Wait { hit: File, go: File, point: String },
}

/// What the environment asks for.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    struck: Option<File>,
}

/// Where the process stands.
#[derive(Debug)]
struct Position {
    process: u32,
    lineage: String,
    /// How often it has come to each step.
    counts: BTreeMap<&'static str, u32>,
}

static PLAN: OnceLock<Result<Option<Plan>>> = OnceLock::new();
static POSITION: Mutex<Position> = Mutex::new(Position { process: 0, lineage: String::new(), counts: BTreeMap::new() });

/// A step is about to be taken: does what the test wants here, if this is the point.
///
/// # Errors
/// The one that was asked for; in words when the variable cannot be understood.
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
    /// The point at which the process stands when it comes to `step`.
    fn point(&mut self, process: u32, step: &'static str) -> String {
        if self.process != process && self.process != 0 {
            // A child: it has its parent's memory, and so knows which of the parent's children it is.
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
                // For writing too: then opening does not wait for the other side.
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
    // For process 1 of a PID namespace the kernel drops even this signal when it comes from within. See pid_namespaces(7).
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
