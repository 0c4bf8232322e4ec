//! The calls that need `unsafe`: system calls by number, which is what an attacker uses.

#![allow(unsafe_code)]

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::ForkResult;

/// Makes a system call.
pub fn call(number: libc::c_long, [first, second, third, fourth]: [usize; 4]) -> Result<i64, Errno> {
    // SAFETY: the callers pass null or invalid pointers, or C strings that live as long as the program; where the kernel
    // would write, the pointer is null.
    let outcome = unsafe { libc::syscall(number, first, second, third, fourth, 0, 0) };
    Errno::result(outcome)
}

/// Makes a system call whose first three arguments are texts and whose fifth is one; the fourth is a number. As mount(2).
pub fn call_with_data(
    number: libc::c_long,
    [first, second, third]: [&CStr; 3],
    fourth: usize,
    fifth: &CStr,
) -> Result<(), Errno> {
    // SAFETY: the texts end with a NUL and live until the call returns; the kernel writes to none.
    let outcome =
        unsafe { libc::syscall(number, first.as_ptr(), second.as_ptr(), third.as_ptr(), fourth, fifth.as_ptr(), 0) };
    Errno::result(outcome).map(drop)
}

/// Forks.
pub fn fork() -> Result<ForkResult, Errno> {
    // SAFETY: this program has one thread, so no lock can stay held in the child.
    unsafe { nix::unistd::fork() }
}

/// Asks for the process's number by the 32-bit convention, where each number means another call than in a filter's list.
#[cfg(target_arch = "x86_64")]
pub fn call_by_another_convention() -> String {
    const GETPID_OF_32_BIT: u32 = 20;
    let answer: u32;
    // SAFETY: getpid takes no pointer and changes nothing; the kernel preserves all registers but the answer's, and
    // those that the instruction is declared to clobber.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") GETPID_OF_32_BIT => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if answer == std::process::id() { "SUCCEEDED".to_owned() } else { "REFUSED".to_owned() }
}

/// There is no second convention to try here.
#[cfg(not(target_arch = "x86_64"))]
pub fn call_by_another_convention() -> String {
    "SIGSYS".to_owned()
}
