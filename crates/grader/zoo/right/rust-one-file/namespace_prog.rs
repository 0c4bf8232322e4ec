//! Task 1 in one file of Rust: no crate, so the C library is declared here.
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

const CLONE_NEWUTS: i32 = 0x0400_0000;
const CLONE_NEWPID: i32 = 0x2000_0000;
const SIGKILL: i32 = 9;
const SYS_PIDFD_OPEN: i64 = 434;

extern "C" {
    fn unshare(flags: i32) -> i32;
    fn setns(fd: i32, kind: i32) -> i32;
    fn fork() -> i32;
    fn pause() -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn sethostname(name: *const u8, length: usize) -> i32;
    fn syscall(number: i64, ...) -> i64;
}

fn done(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn introduce(who: &str) -> io::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let pid = std::process::id();
    print!("{who} Process PID: {pid}\n{who} Hostname: {host}{}\n", "-".repeat(40));
    io::stdout().flush()
}

/// Forks; the child runs `body` and ends.
fn born(body: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    match done(unsafe { fork() })? {
        0 => std::process::exit(i32::from(body().is_err())),
        child => Ok(child),
    }
}

fn main() -> io::Result<()> {
    println!("{}", "-".repeat(40));
    introduce("Parent")?;

    let (mut ready, mut tell) = UnixStream::pair()?;
    done(unsafe { unshare(CLONE_NEWPID) })?;
    let first = born(|| {
        done(unsafe { unshare(CLONE_NEWUTS) })?;
        done(unsafe { sethostname(b"Child1Hostname".as_ptr(), 14) })?;
        introduce("Child1")?;
        tell.write_all(b"r")?;
        done(unsafe { pause() })?;
        Ok(())
    })?;
    ready.read_exact(&mut [0])?;
    introduce("Parent")?;

    let pidfd = unsafe { syscall(SYS_PIDFD_OPEN, first, 0) } as i32;
    done(unsafe { setns(pidfd, CLONE_NEWPID) })?;
    let second = born(|| {
        done(unsafe { setns(pidfd, CLONE_NEWUTS) })?;
        introduce("Child2")
    })?;
    done(unsafe { waitpid(second, std::ptr::null_mut(), 0) })?;
    introduce("Parent")?;

    done(unsafe { kill(first, SIGKILL) })?;
    done(unsafe { waitpid(first, std::ptr::null_mut(), 0) })?;
    Ok(())
}
