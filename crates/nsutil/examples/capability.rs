//! A root process with eleven of the forty-one capabilities. Needs root.
//!
//! Run: `sudo cargo run --example capability`

use std::fs;

use nsutil::capability::{CONTAINER, keep_only};
use nsutil::process::{SpawnOptions, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("before: {}", effective()?);
    let child = spawn(SpawnOptions::default(), |_| {
        keep_only(CONTAINER)?;
        println!("after:  {} (user {})", effective().unwrap_or_default(), nix::unistd::getuid());
        let refused = nix::unistd::sethostname("mine").err();
        println!("sethostname: {}", refused.map_or("done", nix::errno::Errno::desc));
        Ok(i32::from(refused.is_none()))
    })?;
    assert_eq!(child.wait()?.code(), 0, "the child could still rename the host");
    Ok(())
}

fn effective() -> std::io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("CapEff")).unwrap_or("no CapEff").replace('\t', " "))
}
