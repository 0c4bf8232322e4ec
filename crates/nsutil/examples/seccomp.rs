//! The same call before and after loading a filter. Needs root, so that no capability is missing.
//!
//! Run: `sudo cargo run --example seccomp`

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nsutil::process::{SpawnOptions, spawn};
use nsutil::seccomp::Filter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = spawn(SpawnOptions::default(), |_| {
        println!("unshare before: {:?}", unshare(CloneFlags::CLONE_NEWUTS));
        Filter::container().load()?;
        let after = unshare(CloneFlags::CLONE_NEWUTS);
        println!("unshare after:  {after:?}");
        Ok(i32::from(after != Err(Errno::EPERM)))
    })?;
    assert_eq!(child.wait()?.code(), 0, "the filter let it through");
    Ok(())
}
