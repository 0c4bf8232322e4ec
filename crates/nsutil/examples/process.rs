//! A child with a PID namespace of its own: process 1 inside, another number outside. And one that fails. Needs root.
//!
//! Run: `sudo cargo run --example process`

use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{getpid, pause};
use nsutil::namespace::Kind;
use nsutil::process::{Exit, SpawnOptions, exec, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let birth = SpawnOptions { namespaces: &[Kind::Pid], ..SpawnOptions::default() };
    let mut child = spawn(birth, |report| {
        println!("inside:  I am process {}", getpid());
        report.ready()?;
        loop {
            pause();
        }
    })?;
    child.ready()?;
    println!("outside: it is process {}", child.pid());
    child.signal(Signal::SIGKILL)?;
    let exit = child.wait()?;
    println!("outside: it ended by {exit:?}, which a shell shows as {}", exit.code());
    assert_eq!(exit, Exit::Signal(Signal::SIGKILL));

    // A child that nobody waits for does not stay: its guard ends it.
    let pid = spawn(SpawnOptions::default(), |_| {
        loop {
            pause();
        }
    })?
    .pid();
    let alive = std::fs::exists(format!("/proc/{pid}"))?;
    println!("dropped: process {pid} is {}", if alive { "still there" } else { "gone" });

    // What goes wrong in the child comes back as a value.
    let mut failing =
        spawn(SpawnOptions::default(), |_| match exec(Path::new("/no/such/program"), &["program"], &[])? {})?;
    let error = failing.ready().err().ok_or("the child should have failed")?;
    println!("a child that failed: {}", nsutil::error::line(&error));
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
    Ok(())
}
