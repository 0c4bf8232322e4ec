//! A child limited to half of one core and to three processes. Needs root.
//!
//! Run: `sudo cargo run --example cgroup`

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nsutil::cgroup::{Cgroup, Controller, Limits, Quota};
use nsutil::process::{Membership, SpawnOptions, spawn};

const BUSY: Duration = Duration::from_millis(600);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let half = Quota { quota_us: 50_000, period_us: 100_000 };
    let limits = Limits { cpu: Some(half), processes: Some(3), ..Limits::default() };
    let cgroup = Cgroup::create("example", &[Controller::Cpu, Controller::Pids])?;
    cgroup.limit(Controller::Cpu, &limits)?;
    cgroup.limit(Controller::Pids, &limits)?;
    for directory in cgroup.directories() {
        println!("made    {}", directory.display());
    }
    let (target, procs_files) = (cgroup.clone_target()?, cgroup.procs_files()?);
    let member = Membership { clone_target: target.as_ref().map(File::as_fd), procs_files: &procs_files };
    let child = spawn(SpawnOptions { cgroup: member, ..SpawnOptions::default() }, |_| {
        let end = Instant::now() + BUSY;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        // The child itself is one of the three.
        let mut children = Vec::new();
        while children.len() < 10 {
            match spawn(SpawnOptions::default(), |_| Ok(0)) {
                Ok(child) => children.push(child),
                Err(error) => {
                    println!("child   {}", nsutil::error::line(&error));
                    break;
                }
            }
        }
        Ok(children.len() as i32)
    })?;
    let started = child.wait()?.code();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?.user_time();
    println!("parent  busy for {} ms, it got {} ms of CPU time", BUSY.as_millis(), used.tv_usec() / 1000);
    println!("parent  it could start {started} processes besides itself");
    let directories: Vec<_> = cgroup.directories().map(ToOwned::to_owned).collect();
    cgroup.remove()?;
    println!("gone    {}", directories.iter().all(|directory| !directory.exists()));
    Ok(())
}
