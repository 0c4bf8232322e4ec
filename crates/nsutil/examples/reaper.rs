//! A reaper as process 1: its command is process 2, leaves an orphan, and is ended by SIGTERM. Needs root.
//!
//! Run: `sudo cargo run --example reaper`

use std::path::Path;

use nix::sys::signal::Signal;
use nsutil::namespace::Kind;
use nsutil::process::{SpawnOptions, exec, spawn};
use nsutil::reaper::run_under_reaper;

/// Its child starts another process and exits, so process 1 adopts the grandchild; once reaped, its PID is free.
const COMMAND: &str = "echo \"the command is process $$\"
    sh -c 'true & echo $! > /tmp/orphan-of-example'
    while kill -0 $(cat /tmp/orphan-of-example) 2> /dev/null; do sleep 0.01; done
    rm /tmp/orphan-of-example; echo 'its orphan is gone'; exec sleep infinity";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (read, write) = nix::unistd::pipe()?;
    let birth = SpawnOptions { namespaces: &[Kind::Pid], ..SpawnOptions::default() };
    let mut first = spawn(birth, |report| {
        nix::unistd::dup2_stdout(&write).map_err(|errno| nsutil::Error::new("set", "stdout", errno))?;
        let command = |_: &mut _| exec(Path::new("/bin/sh"), &["sh", "-c", COMMAND], &["PATH=/usr/bin:/bin"]);
        match run_under_reaper(command, || report.ready(), || Ok(()))? {}
    })?;
    drop(write);
    first.ready()?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(std::fs::File::from(read)));
    for line in lines.by_ref().take(2) {
        println!("{}", line?);
    }
    // sleep has no handler for SIGTERM: as process 1 it would not receive it.
    first.signal(Signal::SIGTERM)?;
    println!("asked to end, it ended with {}", first.wait()?.code());
    Ok(())
}
