//! The one process that stays with a detached container: its parent.
//!
//! Somebody has to be there when the first process ends, to take its exit code and, with `--rm`, to clear up. It is
//! forked from `run -d`, begins a session of its own, starts the container, and tells `run` that it is up; from then on
//! it holds nothing of the caller's, so `$(conductor run -d …)` returns at once. What the container prints goes to its
//! log without passing through here. If the monitor is killed, the container goes on: it is still listed and can be
//! stopped, only its exit code is lost.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;

use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use nsutil::error::{OrCannot, Result};
use nsutil::process::{Birth, Exit, close_inherited, give_back_clean_pages, spawn};

use super::host::{self, Voice};
use super::teardown;
use crate::failure::{self, Failure};
use crate::plan::Plan;
use crate::store::{Claim, Note, Store};

/// Name of the file in a container's folder that takes what it prints.
pub const LOG: &str = "log";

/// Starts the container of a plan with a monitor, and returns when its command runs.
///
/// # Errors
/// As [`host::start`].
pub fn start(store: &Store, plan: &Plan, claim: Claim) -> Result<(), Failure> {
    let (directory, mut claim) = (claim.directory().to_owned(), Some(claim));
    let spawned = spawn(Birth::default(), |report| {
        report.outlive_parent()?;
        setsid().or_cannot("begin", "a session")?;
        // While nothing is made that would have to be given back if that fails.
        close_inherited()?;
        let Some(claim) = claim.take() else { return Ok(i32::from(failure::OURS)) };
        match live(store, plan, claim) {
            Ok((started, note)) => {
                report.ready()?;
                let_go_of_caller()?;
                // It is only a saving.
                let _ = give_back_clean_pages();
                let exit = started.init.wait()?;
                end(store, plan, &note, exit)?;
                Ok(0)
            }
            Err(failure) => {
                failure.tell();
                Ok(i32::from(failure.code()))
            }
        }
    });
    if spawned.is_err() {
        // There is nobody to give the name back but us; the lock is still held.
        let _ = fs::remove_dir(&directory);
    }
    let mut monitor = spawned?;
    // From here on it is the monitor's.
    drop(claim);
    if monitor.is_ready()? {
        monitor.release();
        return Ok(());
    }
    // It has said why.
    Err(Failure::told(monitor.wait()?.code()))
}

fn live(store: &Store, plan: &Plan, claim: Claim) -> Result<(host::Started, Note), Failure> {
    let path = claim.directory().join(LOG);
    let log =
        File::options().append(true).create_new(true).mode(0o600).open(&path).or_cannot("make", path.display())?;
    let note = Note::prepare(&claim)?;
    Ok((host::start(store, plan, claim, Voice::Log(&log))?, note))
}

/// Notes how the first process ended, and clears all away when the container was to go by itself.
///
/// # Errors
/// Of the clearing up. That the container was stopped meanwhile is none.
pub fn end(store: &Store, plan: &Plan, note: &Note, exit: Exit) -> Result<()> {
    note.write(exit.code())?;
    if !plan.remove_at_end {
        return Ok(());
    }
    let Some(lock) = store.try_lock_container(&plan.name)? else { return Ok(()) };
    // It may have been stopped meanwhile, and the one that is there now may be another of the same name.
    if note.has_no_name_any_more() { Ok(()) } else { teardown::take_back(store, &plan.name, lock) }
}

/// Closes what `$(…)` waits for, and leaves the caller's folder.
fn let_go_of_caller() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").or_cannot("open", "/dev/null")?;
    dup2_stdin(&null).or_cannot("let go of", "stdin")?;
    dup2_stdout(&null).or_cannot("let go of", "stdout")?;
    dup2_stderr(&null).or_cannot("let go of", "stderr")?;
    chdir("/").or_cannot("enter", "/")
}
