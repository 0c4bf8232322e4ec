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
use nsutil::process::{Birth, Exit, give_back_clean_pages, spawn};

use super::host::{self, Voice};
use super::teardown;
use crate::failure::{self, Failure};
use crate::name::ContainerName;
use crate::plan::Plan;
use crate::store::{Claim, Store};

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
        let Some(claim) = claim.take() else { return Ok(i32::from(failure::OURS)) };
        match live(store, plan, claim) {
            Ok(started) => {
                report.ready()?;
                let_go_of_caller()?;
                give_back_clean_pages()?;
                let exit = started.init.wait()?;
                end(store, &plan.name, plan.remove_at_end, exit)?;
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

fn live(store: &Store, plan: &Plan, claim: Claim) -> Result<host::Started, Failure> {
    let path = claim.directory().join(LOG);
    let log =
        File::options().append(true).create_new(true).mode(0o600).open(&path).or_cannot("make", path.display())?;
    host::start(store, plan, claim, Voice::Log(&log))
}

/// Notes how the first process ended, or clears all away when the container was to go by itself.
///
/// # Errors
/// Of the clearing up. That the container was stopped meanwhile is none.
pub fn end(store: &Store, name: &ContainerName, remove: bool, exit: Exit) -> Result<()> {
    let Some(lock) = store.try_lock_container(name)? else { return Ok(()) };
    if remove { teardown::take_back(store, name, lock) } else { store.note_exit(name, exit.code()) }
}

/// Closes what `$(…)` waits for, and leaves the caller's folder.
fn let_go_of_caller() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").or_cannot("open", "/dev/null")?;
    dup2_stdin(&null).or_cannot("let go of", "stdin")?;
    dup2_stdout(&null).or_cannot("let go of", "stdout")?;
    dup2_stderr(&null).or_cannot("let go of", "stderr")?;
    chdir("/").or_cannot("enter", "/")
}
