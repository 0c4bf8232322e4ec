//! Calls that need `unsafe`: clone3, which returns twice, close_range, and rand.
//!
//! Run: `cargo run --example sys`

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nsutil::sys;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // clone3 returns in two processes. The child exits with the value of its closure.
    let (child, _descriptor) = sys::clone3(CloneFlags::empty(), None, || 7)?;
    println!("clone3: child {child} ended: {:?}", waitpid(child, None)?);

    // Rust opens files close-on-exec; a shell or a C program may leave some open across exec.
    let file = fs::File::open("/dev/null")?;
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let survives = || Command::new("test").args(["-e", &path]).status().map(|status| status.success());
    println!("close_range: before, descriptor {} goes through exec: {}", file.as_raw_fd(), survives()?);
    sys::close_on_exec_from(3)?;
    println!("close_range: after,  descriptor {} goes through exec: {}", file.as_raw_fd(), survives()?);

    sys::srand(10111);
    println!("rand: the same seed gives the same numbers: {} {} {}", sys::rand(), sys::rand(), sys::rand());
    Ok(())
}
