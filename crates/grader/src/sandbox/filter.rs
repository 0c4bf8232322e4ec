//! The seccomp filters of the box: which calls stop for the tracer, and which ask the [guard](super::guard).
//!
//! A filter is a small program that the kernel runs at every call. It sees the call's number and its arguments as
//! numbers, and not what a pointer points to: so it only sorts. Of two filters, the answer with the higher rank counts:
//! a call that asks the guard is not seen by the tracer. (The crate seccompiler, which conductor uses, has no action that asks.)
//! Look: `grep Seccomp /proc/PID/status`. Manual: seccomp(2), seccomp_unotify(2).

use libc::sock_filter;

/// When a call is passed to the tracer or the guard.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Always.
    Always,
    /// When this argument has one of these bits.
    Any(usize, u32),
    /// When this argument has none of these bits.
    NoneOf(usize, u32),
    /// When this argument is this number.
    Is(usize, u32),
    /// When these bits of this argument are this number.
    Masked(usize, u32, u32),
    /// When this argument is none of these numbers.
    IsNot(usize, &'static [u32]),
}

/// A call by number, and when it is passed on.
pub type Rule = (i64, When);

/// The highest number of a call that this filter was written for: file_setattr(2), Linux 6.17. Since Linux 5.1, a new call
/// has the same number on all architectures.
const NEWEST: u32 = 469;

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A filter that stops at these calls for the tracer. A process that has it and no tracer gets `ENOSYS` from them, so it is
/// loaded last before the first exec.
pub fn for_tracer(calls: &[i64]) -> Vec<sock_filter> {
    let rules: Vec<Rule> = calls.iter().map(|nr| (*nr, When::Always)).collect();
    program(&rules, libc::SECCOMP_RET_TRACE)
}

/// A filter that asks the listener about these calls.
pub fn for_guard(rules: &[Rule]) -> Vec<sock_filter> {
    program(rules, libc::SECCOMP_RET_USER_NOTIF)
}

fn program(rules: &[Rule], action: u32) -> Vec<sock_filter> {
    // Calls of another architecture (32 bit) have other numbers, and there would be another way around each rule.
    let mut program = vec![load(ARCHITECTURE), if_equal(ARCH, 1, 0), refuse(), load(NUMBER)];
    if cfg!(target_arch = "x86_64") {
        // So have those of x32.
        program.extend([if_any(0x4000_0000, 0, 1), refuse()]);
    }
    // Calls that are newer than this filter do not exist in the box: no rule has been written for them.
    program.extend([if_above(NEWEST, 0, 1), refuse()]);
    for (nr, when) in rules {
        let body = body(*when, action);
        let length = u8::try_from(body.len()).unwrap_or(0);
        program.push(if_equal(u32::try_from(*nr).unwrap_or(u32::MAX), 0, length));
        program.extend(body);
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

/// The steps for a call whose number matched. When they do not return, the number is loaded again for the next rule.
fn body(when: When, action: u32) -> Vec<sock_filter> {
    let argument = |nth: usize| load(ARGUMENTS + 8 * u32::try_from(nth).unwrap_or(0));
    match when {
        When::Always => vec![give(action)],
        When::Any(nth, bits) => vec![argument(nth), if_any(bits, 0, 1), give(action), load(NUMBER)],
        When::NoneOf(nth, bits) => vec![argument(nth), if_any(bits, 1, 0), give(action), load(NUMBER)],
        When::Is(nth, number) => vec![argument(nth), if_equal(number, 0, 1), give(action), load(NUMBER)],
        When::Masked(nth, bits, number) => {
            let mask = step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits);
            vec![argument(nth), mask, if_equal(number, 0, 1), give(action), load(NUMBER)]
        }
        When::IsNot(nth, numbers) => {
            let mut steps = vec![argument(nth)];
            for (done, number) in numbers.iter().enumerate() {
                // Over the other numbers and the action.
                steps.push(if_equal(*number, u8::try_from(numbers.len() - done).unwrap_or(0), 0));
            }
            steps.extend([give(action), load(NUMBER)]);
            steps
        }
    }
}

fn load(offset: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn if_equal(number: u32, then: u8, otherwise: u8) -> sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, number)
}

fn if_any(bits: u32, then: u8, otherwise: u8) -> sock_filter {
    step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, then, otherwise, bits)
}

fn if_above(number: u32, then: u8, otherwise: u8) -> sock_filter {
    step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, then, otherwise, number)
}

fn give(action: u32) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn refuse() -> sock_filter {
    give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of the kernel: the machine's number in ELF, 64 bits, little endian.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "the box's filter knows the calls of x86-64 and AArch64: add AUDIT_ARCH_… here, and read guard/rules.rs anew"
);
