//! Two programs that the kernel asks for every process in the box's cgroup: which devices it may open, and which kernel
//! settings it may write.
//!
//! Both hold wherever the box mounts a procfs or makes a device node, in whatever namespace, for the kernel asks at the
//! device and at the setting and not at a path. They are allow-lists; without them no box is made.
//! Look: `bpftool cgroup tree`. Manual: bpf(2), the kernel's documents on `BPF_PROG_TYPE_CGROUP_SYSCTL` and on the
//! device controller in cgroup-v2.

use std::io;
use std::os::fd::BorrowedFd;

use super::is_linux;
use crate::sys::{self, BpfKind, BpfStep};

/// Character devices that the box may open: major and minor number. null, zero, full, random, urandom; tty, ptmx.
pub const DEVICES: [(u32, u32); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
/// Major numbers of pseudo terminals: those of the box's own devpts instances, since a node elsewhere leads to none.
pub const TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// What both programs are called.
pub const NAME: [u8; 16] = *b"grade_box\0\0\0\0\0\0\0";

/// Settings below `/proc/sys` that belong to a namespace of the box. A name that ends in `/` stands for all below it.
const SETTINGS: [&str; 15] = [
    "net/",
    "kernel/hostname",
    "kernel/domainname",
    "fs/mqueue/",
    "kernel/shmmax",
    "kernel/shmall",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/shm_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/msg_next_id",
    "kernel/sem",
    "kernel/sem_next_id",
];

/// Exceptions: settings below those that belong to the machine.
const OF_ALL: [&str; 1] = ["net/netfilter/nf_hooks_lwtunnel"];

/// One that belongs to each PID namespace since Linux 6.14, and to the machine before.
const PID_MAX: &str = "kernel/pid_max";

/// Bytes of a setting's name that the program compares; no name of [`SETTINGS`] is as long.
const LONGEST: i16 = 32;

/// Whether `name`, a path below `/proc/sys`, belongs to a namespace of the box.
pub fn is_setting_of_a_namespace(name: &str) -> bool {
    let is_below = |known: &str| known == name || known.ends_with('/') && name.starts_with(known);
    !OF_ALL.contains(&name) && settings().any(is_below)
}

fn settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.into_iter().chain(is_linux(6, 14).then_some(PID_MAX))
}

/// Lets the processes of `cgroup` open [`DEVICES`] and [`TERMINALS`] only. Any node may be made: one that cannot be
/// opened does nothing.
///
/// # Errors
/// Those of bpf(2): `EINVAL` where the kernel was built without `CONFIG_CGROUP_BPF`.
pub fn lock_devices(cgroup: BorrowedFd<'_>) -> io::Result<()> {
    attach(BpfKind::Device, &device_program(), cgroup)
}

/// Lets the processes of `cgroup` write settings of its namespaces only.
///
/// # Errors
/// As [`lock_devices`].
pub fn lock_settings(cgroup: BorrowedFd<'_>) -> io::Result<()> {
    attach(BpfKind::Sysctl, &sysctl_program(), cgroup)
}

fn attach(kind: BpfKind, program: &[BpfStep], cgroup: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsFd;
    let loaded = sys::bpf_load(kind, program, NAME)?;
    sys::bpf_attach(kind, loaded.as_fd(), cgroup)
}

/// Loads a program under this name and attaches it to nothing; it goes with its descriptor.
#[cfg(test)]
pub fn load_probe(name: [u8; 16]) -> io::Result<std::os::fd::OwnedFd> {
    sys::bpf_load(BpfKind::Device, &device_program(), name)
}

/// Class and operation codes of the kernel's BPF instruction set.
mod code {
    pub const LOAD_WORD: u8 = 0x61;
    pub const LOAD_64: u8 = 0x18;
    pub const LOAD_DOUBLE: u8 = 0x79;
    pub const LOAD_BYTE: u8 = 0x71;
    pub const STORE_DOUBLE: u8 = 0x7b;
    pub const ADD: u8 = 0x07;
    pub const AND: u8 = 0x57;
    pub const SHIFT_RIGHT: u8 = 0x77;
    pub const MOVE: u8 = 0xb7;
    pub const COPY: u8 = 0xbf;
    pub const SKIP_UNLESS_EQUAL: u8 = 0x55;
    pub const SKIP_UNLESS_SAME: u8 = 0x5d;
    pub const SKIP_IF_GREATER: u8 = 0x25;
    pub const SKIP_IF_LESS: u8 = 0xa5;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

/// The register that holds the frame's end, from which the stack grows down.
const FRAME: u8 = 10;

fn step(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> BpfStep {
    BpfStep { code, registers: (from << 4) | to, offset, constant }
}

fn answer(allowed: bool) -> [BpfStep; 2] {
    [step(code::MOVE, 0, 0, 0, i32::from(allowed)), step(code::EXIT, 0, 0, 0, 0)]
}

/// `struct bpf_cgroup_dev_ctx`: access in the high half and kind in the low half of the first word, major, minor.
fn device_program() -> Vec<BpfStep> {
    const ACCESS_MAKE: i32 = 1;
    const CHARACTER: i32 = 2;
    let (access, kind, major, minor) = (2, 3, 4, 5);
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut program = vec![
        step(code::LOAD_WORD, access, 1, 0, 0),
        step(code::COPY, kind, access, 0, 0),
        step(code::SHIFT_RIGHT, access, 0, 0, 16),
        step(code::AND, kind, 0, 0, 0xffff),
        step(code::LOAD_WORD, major, 1, 4, 0),
        step(code::LOAD_WORD, minor, 1, 8, 0),
        step(code::SKIP_UNLESS_EQUAL, access, 0, 2, ACCESS_MAKE),
    ];
    program.extend(answer(true));
    // Not a character device: over the one step of the jump's other way to the refusal.
    let mut rules = Vec::new();
    for (wanted_major, wanted_minor) in DEVICES {
        rules.push(step(code::SKIP_UNLESS_EQUAL, major, 0, 3, number(wanted_major)));
        rules.push(step(code::SKIP_UNLESS_EQUAL, minor, 0, 2, number(wanted_minor)));
        rules.extend(answer(true));
    }
    rules.push(step(code::SKIP_IF_LESS, major, 0, 3, number(*TERMINALS.start())));
    rules.push(step(code::SKIP_IF_GREATER, major, 0, 2, number(*TERMINALS.end())));
    rules.extend(answer(true));
    let past_rules = i16::try_from(rules.len()).unwrap_or(i16::MAX);
    program.push(step(code::SKIP_UNLESS_EQUAL, kind, 0, past_rules, CHARACTER));
    program.extend(rules);
    program.extend(answer(false));
    program
}

/// `struct bpf_sysctl`: whether it is a write is the first word. The name is fetched onto the stack.
fn sysctl_program() -> Vec<BpfStep> {
    const GET_NAME: i32 = 101;
    let (context, scratch, constant) = (6, 1, 2);
    let mut program = vec![step(code::COPY, context, 1, 0, 0), step(code::LOAD_WORD, scratch, context, 0, 0)];
    program.push(step(code::SKIP_UNLESS_EQUAL, scratch, 0, 2, 0));
    program.extend(answer(true));
    program.push(step(code::MOVE, scratch, 0, 0, 0));
    program.extend((1..=LONGEST / 8).map(|nth| step(code::STORE_DOUBLE, FRAME, scratch, -8 * nth, 0)));
    program.extend([
        step(code::COPY, 1, context, 0, 0),
        step(code::COPY, 2, FRAME, 0, 0),
        step(code::ADD, 2, 0, 0, i32::from(-LONGEST)),
        step(code::MOVE, 3, 0, 0, i32::from(LONGEST)),
        step(code::MOVE, 4, 0, 0, 0),
        step(code::CALL, 0, 0, 0, GET_NAME),
    ]);
    let of_all = OF_ALL.into_iter().map(|setting| (setting, false));
    for (setting, allowed) in of_all.chain(settings().map(|setting| (setting, true))) {
        let mut wanted = setting.as_bytes().to_vec();
        if !setting.ends_with('/') {
            wanted.push(0);
        }
        program.extend(when_name_begins(&wanted, allowed, scratch, constant));
    }
    program.extend(answer(false));
    program
}

/// Gives this answer when the name on the stack begins with `wanted`, else goes on with the next step.
fn when_name_begins(wanted: &[u8], allowed: bool, scratch: u8, constant: u8) -> Vec<BpfStep> {
    // Comparisons, each with the number of steps that it is long; the jump over the rest is filled in at the end.
    let mut steps = Vec::new();
    let mut jumps = Vec::new();
    let mut at = -LONGEST;
    for chunk in wanted.chunks(8) {
        if let Ok(eight) = <[u8; 8]>::try_from(chunk) {
            let word = u64::from_ne_bytes(eight);
            let [low, high] = [word, word >> 32].map(|half| (half & 0xffff_ffff) as u32 as i32);
            steps.push(step(code::LOAD_DOUBLE, scratch, FRAME, at, 0));
            steps.extend([step(code::LOAD_64, constant, 0, 0, low), step(0, 0, 0, 0, high)]);
            jumps.push(steps.len());
            steps.push(step(code::SKIP_UNLESS_SAME, scratch, constant, 0, 0));
            at += 8;
        } else {
            for byte in chunk {
                steps.push(step(code::LOAD_BYTE, scratch, FRAME, at, 0));
                jumps.push(steps.len());
                steps.push(step(code::SKIP_UNLESS_EQUAL, scratch, 0, 0, i32::from(*byte)));
                at += 1;
            }
        }
    }
    steps.extend(answer(allowed));
    let end = steps.len();
    for jump in jumps {
        if let Some(step) = steps.get_mut(jump) {
            step.offset = i16::try_from(end - jump - 1).unwrap_or(i16::MAX);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_fits_into_what_is_compared() {
        assert!(SETTINGS.iter().chain(&OF_ALL).all(|name| name.len() < usize::try_from(LONGEST).unwrap()));
    }

    #[test]
    fn a_setting_of_the_machine_among_those_of_a_namespace_is_the_machines() {
        assert!(is_setting_of_a_namespace("net/netfilter/nf_conntrack_log_invalid"));
        assert!(!is_setting_of_a_namespace("net/netfilter/nf_hooks_lwtunnel"));
    }

    #[test]
    #[ignore = "needs root: make test"]
    fn the_kernel_takes_both_programs() {
        for (kind, program) in [(BpfKind::Device, device_program()), (BpfKind::Sysctl, sysctl_program())] {
            sys::bpf_load(kind, &program, NAME).unwrap();
        }
    }
}
