//! A child in a new PID namespace: process 1 inside, another PID outside. And a child that fails. Needs root.
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

    // Dropping a child that was not waited for kills and reaps it.
    let pid = spawn(SpawnOptions::default(), |_| {
        loop {
            pause();
        }
    })?
    .pid();
    let alive = std::fs::exists(format!("/proc/{pid}"))?;
    println!("dropped: process {pid} is {}", if alive { "still there" } else { "gone" });

    // An error in the child is returned to the parent as a value.
    let mut failing =
        spawn(SpawnOptions::default(), |_| match exec(Path::new("/no/such/program"), &["program"], &[])? {})?;
    let error = failing.ready().err().ok_or("the child should have failed")?;
    println!("a child that failed: {}", nsutil::error::line(&error));
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
    Ok(())
}
