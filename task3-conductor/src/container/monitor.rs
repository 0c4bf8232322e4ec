//! The monitor of a detached container: its parent process.
//!
//! A process must reap the first process's exit code and, with `--rm`, remove the container. It is forked from `run
//! -d`, starts a new session, starts the container, and reports ready to `run`; from then on it holds nothing of the
//! caller's, so `$(conductor run -d …)` returns at once. It also copies the container's output to its log, which the
//! container itself must not have open (see [`super::relay`]). If the monitor is killed, the container keeps running,
//! is still listed and can be stopped; its exit code is lost, and writing to stdout fails with `EPIPE`.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::unistd::setsid;
use nsutil::error::{OrCannot, Result};
use nsutil::process::{Exit, SpawnOptions, close_inherited_descriptors, release_clean_pages, spawn};

use super::create::{self, Output};
use super::relay::{Relay, detach_from_caller};
use super::stop;
use crate::container::plan::Plan;
use crate::output::failure;
use crate::output::failure::Failure;
use crate::store::exit_code::ExitCodeFile;
use crate::store::{Claim, Store};

/// Name of the log file in a container's folder.
pub const LOG: &str = "log";

/// Starts the container of a plan with a monitor, and returns when its command is running.
///
/// # Errors
/// As [`create::start`].
pub fn start(store: &Store, plan: &Plan, claim: Claim) -> Result<(), Failure> {
    let (directory, mut claim) = (claim.directory().to_owned(), Some(claim));
    let spawned = spawn(SpawnOptions::default(), |report| {
        report.outlive_parent()?;
        setsid().or_cannot("begin", "a session")?;
        // Before anything is created that a failure here would have to undo.
        close_inherited_descriptors()?;
        let Some(claim) = claim.take() else { return Ok(i32::from(failure::CONDUCTOR_FAILED)) };
        match live(store, plan, claim) {
            Ok((started, exit_code, mut relay)) => {
                report.ready()?;
                detach_from_caller()?;
                // Failure only costs memory.
                let _ = release_clean_pages();
                // A broken log is no reason not to wait for the container.
                let _ = relay.copy_until_end_of(started.init.pidfd().as_fd());
                let exit = started.init.wait()?;
                end(store, plan, &exit_code, exit)?;
                Ok(0)
            }
            Err(failure) => {
                failure.report();
                Ok(i32::from(failure.code()))
            }
        }
    });
    if spawned.is_err() {
        // The monitor does not exist, so release the name here; the lock is still held.
        let _ = fs::remove_dir(&directory);
    }
    let mut monitor = spawned?;
    // The claim now belongs to the monitor.
    drop(claim);
    if monitor.is_ready()? {
        monitor.release();
        return Ok(());
    }
    // The monitor has reported the error.
    Err(Failure::already_reported(monitor.wait()?.code()))
}

fn live(store: &Store, plan: &Plan, claim: Claim) -> Result<(create::Started, ExitCodeFile, Relay), Failure> {
    let path = claim.directory().join(LOG);
    let log =
        File::options().append(true).create_new(true).mode(0o600).open(&path).or_cannot("make", path.display())?;
    let exit_code = ExitCodeFile::prepare(claim.directory())?;
    let (relay, output) = Relay::to_log(log)?;
    let started = create::start(store, plan, claim, Output::Detached(output.as_fd()))?;
    Ok((started, exit_code, relay))
}

/// Records the exit code of the first process, and removes the container with `--rm`.
///
/// # Errors
/// Of the removal. It is not an error if the container was stopped meanwhile.
pub fn end(store: &Store, plan: &Plan, exit_code: &ExitCodeFile, exit: Exit) -> Result<()> {
    exit_code.write(exit.code())?;
    if !plan.remove_at_end {
        return Ok(());
    }
    let Some(lock) = store.try_lock_container(&plan.name)? else { return Ok(()) };
    // It may have been stopped meanwhile and replaced by another of the same name.
    if exit_code.is_unlinked() { Ok(()) } else { stop::tear_down(store, &plan.name, lock) }
}
