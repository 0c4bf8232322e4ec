//! `simple_container`: one program, three containers, each one kind of isolation further.
//!
//! 2a gives `container_prog` its own root directory, 2b its own PIDs and host name, 2c its own IPC objects and half of
//! a CPU core. Everything is cleaned up when the program crashes or the user presses Ctrl-C. If this process is killed,
//! the container's processes end with it and the next run removes the cgroup.
//!
//! The exercise is in [`subtask`]; the other files prepare and clean up.
//! Look: `simple_container --explain`. Manual: chroot(2), namespaces(7), cgroups(7).

mod options;
mod running;
mod subtask;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{geteuid, gethostname};
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::process::{Exit, TerminationSignals, become_subreaper, reset_sigchld};
use nsutil::rootfs::Rootfs;
use nsutil::step;

use crate::options::Options;
use crate::subtask::{Container, Subtask};

const SEPARATOR: &str = "__________________________________________";

fn main() -> ExitCode {
    let options = Options::parse();
    if options.explain {
        step::print_to(anstream::stderr());
    }
    match run(&options) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        // As in a shell: 130 after Ctrl-C.
        Ok(Ended::OnRequest(signal)) => ExitCode::from(128 + signal as u8),
        Err(error) => {
            eprintln!("simple_container: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// How a run ended.
enum Ended {
    /// All subtasks were shown.
    Done,
    /// A termination signal arrived, and everything was cleaned up.
    OnRequest(Signal),
}

fn run(options: &Options) -> Result<Ended> {
    if !geteuid().is_root() {
        return Err(Error::new("make", "containers", Errno::EPERM).hint("this requires root: run it with sudo"));
    }
    reset_sigchld()?;
    let mut requests = TerminationSignals::block()?;
    become_subreaper()?;
    let container = Container { root: Rootfs::at(&options.root)?, program: program()?, cpu: options.cpus.quota() };
    for (index, subtask) in options.what.subtasks().iter().enumerate() {
        if index > 0 {
            say(SEPARATOR)?;
        }
        if let Ended::OnRequest(signal) = show(*subtask, &container, &mut requests)? {
            return Ok(Ended::OnRequest(signal));
        }
    }
    Ok(Ended::Done)
}

/// Runs `container_prog` in one kind of container until it exits or a termination signal arrives.
fn show(subtask: Subtask, container: &Container, requests: &mut TerminationSignals) -> Result<Ended> {
    say(&format!("Output Subtask {subtask}"))?;
    let running = subtask.start(container)?;
    if let Some(directory) = running.limit_in_v1() {
        eprintln!(
            "simple_container: this host's cpu controller is in cgroup v1, so the limit is set there: {}",
            directory.display()
        );
    }
    if let Some(signal) = requests.wait_for_signal_or_end(running.process())? {
        running.abort()?;
        return Ok(Ended::OnRequest(signal));
    }
    let failure = match running.finish()? {
        Exit::Code(0) => None,
        Exit::Code(code) => Some(format!("container_prog ended with code {code}")),
        Exit::Signal(signal) => Some(format!("container_prog was killed by {signal}")),
    };
    if let Some(reason) = failure {
        return Err(Error::new("show", format_args!("subtask {subtask}"), reason));
    }
    if subtask == Subtask::TwoB {
        let name = gethostname().or_cannot("ask for", "the host name")?;
        say(&format!("Hostname in the host: {}", name.to_string_lossy()))?;
    }
    Ok(Ended::Done)
}

/// `container_prog`, which cargo builds beside this program.
fn program() -> Result<PathBuf> {
    let me = std::env::current_exe().or_cannot("find", "this program's own file")?;
    let program = me.with_file_name("container_prog");
    if program.is_file() {
        Ok(program)
    } else {
        Err(Error::new("find", program.display(), Errno::ENOENT).hint("build it: cargo build --release"))
    }
}

/// Writes a line to stdout and flushes, so that the container's lines follow it.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}
