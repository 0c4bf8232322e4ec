//! Seccomp: which system calls a process may make.
//!
//! Capabilities restrict privileged operations; but a process can still call each of the four hundred system calls, and
//! a bug in any of them is a way into the kernel. A filter is a small program that the kernel runs before each call: it
//! sees the call's number, the ABI and the six arguments as numbers (never what they point to), and *allows* the call,
//! *fails it with an errno*, or *kills* the process. Once loaded it stays, for all descendants too.
//!
//! There are three kinds of refusal, because programs react differently. Known and forbidden calls get `EPERM`. Unknown
//! calls (newer than this list) get `ENOSYS`, upon which a C library falls back to an older call. `clone3` gets
//! `ENOSYS` as well: its flags are in memory that a filter cannot read, while those of `clone` are an argument. A call
//! of another ABI (32-bit, x32), where the numbers mean other calls, kills the process.
//!
//! The list is compiled to ranges of numbers and a binary search: nine comparisons for a call instead of hundreds. This
//! also makes loading faster, since the kernel evaluates the filter once for each number to cache those always allowed.
//! The crate `seccompiler` provides the instruction type and loads the program.
//!
//! Look: `grep Seccomp /proc/self/status`, `strace -f -e seccomp PROGRAM`. Manual: seccomp(2), the kernel's document "Seccomp BPF".

mod rules;

use std::ops::RangeInclusive;

use seccompiler::sock_filter;

use crate::capability::Set;
use crate::error::{OrCannot, Result};
use crate::namespace::TABLE;
use crate::step;

pub use rules::{Rule, Test as RuleTest, rules};

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Vec<sock_filter>,
}

/// What the filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    /// Known and forbidden.
    Refuse,
    /// Unknown.
    Unknown,
    /// Depends on an argument.
    Check(ArgumentCheck),
    /// `socket`: allowed except for AF_VSOCK, and for the audit log unless allowed.
    Socket {
        /// Whether the audit log is allowed.
        audit: bool,
    },
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ArgumentCheck {
    /// Index 0 to 5; only the lower 32 bits are compared, as the kernel does for these calls.
    argument: u8,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// Refused if any of these bits is set.
    NoneOfBits(u32),
    /// Allowed only if it is one of these values.
    OneOf(&'static [u32]),
    /// Refused if it is one of these values.
    NoneOf(&'static [u32]),
}

macro_rules! numbers {
    ($($name:ident)*) => { &[$(libc::$name as u32),*] };
}

/// Calls that programs in a container need, on every machine: what Docker and Podman let through without a capability.
#[rustfmt::skip]
const ALL_ARCHITECTURES: &[u32] = numbers![
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_chroot
    SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect
    SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
    SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64
    SYS_fallocate SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl
    SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_get_mempolicy SYS_get_robust_list SYS_getcpu SYS_getcwd
    SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid
    SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid
    SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch
    SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_io_destroy SYS_io_getevents SYS_io_setup SYS_io_submit
    SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr
    SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat
    SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
    SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_mseal SYS_msgctl SYS_msgget SYS_msgrcv
    SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2
    SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll
    SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_pselect6 SYS_ptrace
    SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg
    SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getaffinity
    SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity
    SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget
    SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_robust_list
    SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority
    SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setsid SYS_setsockopt SYS_setuid SYS_setxattr
    SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice
    SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create
    SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
];

/// The same under the older names that only x86-64 has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const THIS_ARCHITECTURE: &[u32] = numbers![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_get_thread_area SYS_getdents
    SYS_getpgrp SYS_getrlimit SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt
    SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select
    SYS_set_thread_area SYS_setrlimit SYS_signalfd SYS_stat SYS_symlink SYS_sync_file_range SYS_time SYS_unlink
    SYS_utime SYS_utimes SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const THIS_ARCHITECTURE: &[u32] = &[];

/// Calls of Linux 6.5 to 6.13 that the C library's table may not know yet, alike on every machine: cachestat, fchmodat2,
/// map_shadow_stack, futex_wake, futex_wait, futex_requeue, setxattrat, getxattrat, listxattrat, removexattrat.
const NEWER: &[u32] = &[451, 452, 453, 454, 455, 456, 463, 464, 465, 466];
/// statmount, listmount and the three lsm_* calls: harmless but not needed; callers fall back on `ENOSYS`.
const UNSUPPORTED: RangeInclusive<u32> = 457..=461;
/// io_pgetevents(2), which the C library's table leaves out.
const IO_PGETEVENTS: u32 = if cfg!(target_arch = "x86_64") { 333 } else { 292 };
/// The last number known to this list (removexattrat).
const LAST_KNOWN: u32 = 466;

/// Calls that are refused unless the container has a capability. Docker's list, for calls that every architecture has.
#[rustfmt::skip]
const ALLOWED_BY_CAPABILITY: &[(&str, &[u32])] = &[
    ("DAC_READ_SEARCH", numbers![SYS_open_by_handle_at SYS_name_to_handle_at]),
    ("SYS_ADMIN", numbers![
        SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_lookup_dcookie
        SYS_mount SYS_mount_setattr SYS_move_mount SYS_name_to_handle_at SYS_open_tree SYS_perf_event_open SYS_pivot_root
        SYS_quotactl SYS_setdomainname SYS_sethostname SYS_setns SYS_swapoff SYS_swapon SYS_syslog SYS_umount2
        SYS_unshare
    ]),
    ("SYS_BOOT", numbers![SYS_reboot SYS_kexec_load]),
    ("SYS_MODULE", numbers![SYS_delete_module SYS_init_module SYS_finit_module]),
    ("SYS_NICE", numbers![SYS_mbind SYS_set_mempolicy SYS_migrate_pages SYS_move_pages]),
    ("SYS_PACCT", numbers![SYS_acct]),
    ("SYS_PTRACE", numbers![SYS_kcmp SYS_pidfd_getfd SYS_process_madvise SYS_process_vm_readv SYS_process_vm_writev]),
    ("SYS_TIME", numbers![SYS_settimeofday SYS_clock_settime]),
    ("SYS_TTY_CONFIG", numbers![SYS_vhangup]),
    ("SYSLOG", numbers![SYS_syslog]),
    ("BPF", numbers![SYS_bpf]),
    ("PERFMON", numbers![SYS_perf_event_open]),
];

/// ioctl(2) requests that inject input into a terminal (CVE-2017-5226, CVE-2023-1523).
const TERMINAL_INPUT: &[u32] = &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32];
/// Harmless execution domains of personality(2): none, no address randomisation (gdb), Linux 2.6 numbering (uname26),
/// both, and the query.
const PERSONALITIES: &[u32] = &[0x0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];
/// Virtual machine sockets reach the hypervisor past every firewall.
const VSOCK: u32 = libc::AF_VSOCK as u32;
/// The kernel's audit log accepts messages only from processes with `CAP_AUDIT_WRITE`. Programs like sshd(8) fail on a
/// refusal but continue if the kernel has no audit support: so they get that error.
const AUDIT: [u32; 2] = [libc::AF_NETLINK as u32, libc::NETLINK_AUDIT as u32];

/// `AUDIT_ARCH_*` of linux/audit.h for the ABI this program is compiled for.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
/// Bit in the call numbers of the x32 ABI, which shares its AUDIT_ARCH value with x86-64.
const X32: u32 = 0x4000_0000;

impl Filter {
    /// The default filter of a container.
    pub fn container() -> Self {
        Self::for_capabilities(Set::default())
    }

    /// The filter of a container with these capabilities: calls that require one of them are allowed, since the kernel
    /// checks the capability.
    pub fn for_capabilities(capabilities: Set) -> Self {
        let ranges = ranges(actions(capabilities));
        let mut program =
            vec![load(OFFSET_ARCH), jump(BPF_JEQ, AUDIT_ARCH, 1, 0), ret(RET_KILL_PROCESS), load(OFFSET_NUMBER)];
        if cfg!(target_arch = "x86_64") {
            program.extend([jump(BPF_JGE, X32, 0, 1), ret(RET_KILL_PROCESS)]);
        }
        program.extend(search(&ranges));
        Self { program }
    }

    /// Loads the filter for this process and all its descendants. Also sets `no_new_privs`.
    ///
    /// # Errors
    /// In words when the kernel refuses: it may have been built without `CONFIG_SECCOMP_FILTER`.
    pub fn load(&self) -> Result<()> {
        step!("seccomp",
            call: "seccomp(SECCOMP_SET_MODE_FILTER, 0, {} instructions)", self.program.len();
            why: "refuses system calls that programs in containers do not need, before any kernel code for them runs";
            shell: "# no command: see systemd-run -p SystemCallFilter=@system-service COMMAND");
        seccompiler::apply_filter(&self.program)
            .map_err(|error| error.to_string())
            .or_cannot("load", "the seccomp filter")
    }
}

/// The action for each call of a container with these capabilities.
fn actions(capabilities: Set) -> impl Fn(u32) -> Action {
    let opened: Vec<u32> = ALLOWED_BY_CAPABILITY
        .iter()
        .filter(|(name, _)| has(capabilities, name))
        .flat_map(|(_, calls)| *calls)
        .copied()
        .collect();
    let audit = has(capabilities, "AUDIT_WRITE");
    move |number| match action(number) {
        _ if opened.contains(&number) => Action::Allow,
        Action::Socket { .. } => Action::Socket { audit },
        action => action,
    }
}

fn has(capabilities: Set, name: &str) -> bool {
    name.parse().is_ok_and(|capability| capabilities.contains(capability))
}

/// The action for a call number of this ABI.
fn action(number: u32) -> Action {
    let check = |argument, test| Action::Check(ArgumentCheck { argument, test });
    match i64::from(number) {
        libc::SYS_clone3 => Action::Unknown,
        libc::SYS_clone => check(0, Test::NoneOfBits(namespace_flags())),
        libc::SYS_ioctl => check(1, Test::NoneOf(TERMINAL_INPUT)),
        libc::SYS_personality => check(0, Test::OneOf(PERSONALITIES)),
        libc::SYS_socket => Action::Socket { audit: false },
        _ if [ALL_ARCHITECTURES, THIS_ARCHITECTURE, NEWER].iter().any(|list| list.contains(&number)) => Action::Allow,
        _ if number == IO_PGETEVENTS => Action::Allow,
        _ if number > LAST_KNOWN || UNSUPPORTED.contains(&number) => Action::Unknown,
        _ => Action::Refuse,
    }
}

/// Every flag of clone(2) that creates a namespace; a new user namespace would give all capabilities back.
fn namespace_flags() -> u32 {
    // Except the time namespace: its bit is part of clone's exit signal.
    TABLE.iter().fold(0, |all, row| all | row.flag.bits() as u32)
}

/// Combines adjacent numbers with the same action into ranges, from 0 to u32::MAX.
fn ranges(action: impl Fn(u32) -> Action) -> Vec<(RangeInclusive<u32>, Action)> {
    let mut ranges: Vec<(RangeInclusive<u32>, Action)> = Vec::new();
    for number in 0..=LAST_KNOWN + 1 {
        let action = action(number);
        match ranges.last_mut() {
            Some((range, same)) if *same == action => *range = *range.start()..=number,
            _ => ranges.push((number..=number, action)),
        }
    }
    if let Some((last, _)) = ranges.last_mut() {
        *last = *last.start()..=u32::MAX;
    }
    ranges
}

/// Instructions for a binary search of the ranges.
fn search(ranges: &[(RangeInclusive<u32>, Action)]) -> Vec<sock_filter> {
    match ranges {
        [] => vec![ret(RET_KILL_PROCESS)],
        [(_, action)] => instructions_for(*action),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let first_of_upper = *upper[0].0.start();
            let (lower, upper) = (search(lower), search(upper));
            // A conditional jump spans at most 255 instructions, an unconditional one any number.
            let mut program = match u8::try_from(lower.len()) {
                Ok(span) => vec![jump(BPF_JGE, first_of_upper, span, 0)],
                Err(_) => vec![jump(BPF_JGE, first_of_upper, 0, 1), skip(lower.len() as u32)],
            };
            program.extend(lower);
            program.extend(upper);
            program
        }
    }
}

fn instructions_for(action: Action) -> Vec<sock_filter> {
    match action {
        Action::Allow => vec![ret(RET_ALLOW)],
        Action::Refuse => vec![ret(RET_ERRNO | libc::EPERM as u32)],
        Action::Unknown => vec![ret(RET_ERRNO | libc::ENOSYS as u32)],
        Action::Socket { audit } => {
            let argument = |number: u32| load(OFFSET_ARGUMENTS + 8 * number + LOWER_HALF);
            let mut program = vec![argument(0), jump(BPF_JEQ, VSOCK, 0, 1), ret(RET_ERRNO | libc::EPERM as u32)];
            if !audit {
                let [family, protocol] = AUDIT;
                program.extend([jump(BPF_JEQ, family, 0, 3), argument(2), jump(BPF_JEQ, protocol, 0, 1)]);
                program.push(ret(RET_ERRNO | libc::EPROTONOSUPPORT as u32));
            }
            program.push(ret(RET_ALLOW));
            program
        }
        Action::Check(ArgumentCheck { argument, test }) => {
            let refuse = ret(RET_ERRNO | libc::EPERM as u32);
            let mut program = vec![load(OFFSET_ARGUMENTS + 8 * u32::from(argument) + LOWER_HALF)];
            let (values, on_match, otherwise) = match test {
                Test::NoneOfBits(bits) => {
                    program.extend([jump(BPF_JSET, bits, 0, 1), refuse, ret(RET_ALLOW)]);
                    return program;
                }
                Test::OneOf(values) => (values, ret(RET_ALLOW), refuse),
                Test::NoneOf(values) => (values, refuse, ret(RET_ALLOW)),
            };
            for value in values {
                program.extend([jump(BPF_JEQ, *value, 0, 1), on_match.clone()]);
            }
            program.push(otherwise);
            program
        }
    }
}

// Offsets in `struct seccomp_data` and instruction codes: seccomp(2), linux/bpf_common.h.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;
const LOWER_HALF: u32 = if cfg!(target_endian = "little") { 0 } else { 4 };
const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP: u16 = 0x05;
const BPF_JEQ: u16 = 0x15;
const BPF_JGE: u16 = 0x35;
const BPF_JSET: u16 = 0x45;
const BPF_RETURN: u16 = 0x06;
const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

fn load(offset: u32) -> sock_filter {
    sock_filter { code: BPF_LOAD_WORD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code, jt: if_true, jf: if_false, k: value }
}

fn skip(instructions: u32) -> sock_filter {
    sock_filter { code: BPF_JUMP, jt: 0, jf: 0, k: instructions }
}

fn ret(value: u32) -> sock_filter {
    sock_filter { code: BPF_RETURN, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::CONTAINER;

    /// Interprets the filter like the kernel.
    fn run(filter: &Filter, arch: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter.program[at].clone();
            at += 1;
            let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match code {
                BPF_LOAD_WORD => {
                    value = match k {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCH => arch,
                        offset => arguments[((offset - OFFSET_ARGUMENTS) / 8) as usize],
                    }
                }
                BPF_JEQ => branch(value == k),
                BPF_JGE => branch(value >= k),
                BPF_JSET => branch(value & k != 0),
                BPF_JUMP => at += k as usize,
                BPF_RETURN => return k,
                code => panic!("instruction {code:#x} is none that we write"),
            }
        }
    }

    const REFUSED: u32 = RET_ERRNO | libc::EPERM as u32;
    const NOSYS: u32 = RET_ERRNO | libc::ENOSYS as u32;

    #[test]
    fn the_program_answers_every_number_as_the_list_says() {
        let filter = Filter::container();
        assert!(filter.program.len() < 600, "{} instructions", filter.program.len());
        for number in (0..2000).chain([X32 - 1]) {
            let expected = match action(number) {
                Action::Allow => RET_ALLOW,
                Action::Refuse => REFUSED,
                Action::Unknown => NOSYS,
                Action::Check(_) | Action::Socket { .. } => continue,
            };
            assert_eq!(run(&filter, AUDIT_ARCH, number, [0; 6]), expected, "call {number}");
        }
        assert_eq!(run(&filter, AUDIT_ARCH, libc::SYS_read as u32, [0; 6]), RET_ALLOW);
        assert_eq!(run(&filter, AUDIT_ARCH, libc::SYS_mount as u32, [0; 6]), REFUSED);
        assert_eq!(run(&filter, AUDIT_ARCH, libc::SYS_clone3 as u32, [0; 6]), NOSYS);
    }

    #[test]
    fn arguments_decide_where_the_number_alone_cannot() {
        let filter = Filter::container();
        let clone = |flags| run(&filter, AUDIT_ARCH, libc::SYS_clone as u32, [flags, 0, 0, 0, 0, 0]);
        assert_eq!(clone(libc::SIGCHLD as u32 | libc::CLONE_VM as u32), RET_ALLOW, "threads and forks");
        for row in &TABLE {
            assert_eq!(clone(row.flag.bits() as u32), REFUSED, "{}", row.flag_name);
        }
        let ioctl = |request| run(&filter, AUDIT_ARCH, libc::SYS_ioctl as u32, [0, request, 0, 0, 0, 0]);
        assert_eq!((ioctl(libc::TIOCSTI as u32), ioctl(libc::TCGETS as u32)), (REFUSED, RET_ALLOW));
        let socket = |family: i32| run(&filter, AUDIT_ARCH, libc::SYS_socket as u32, [family as u32, 0, 0, 0, 0, 0]);
        assert_eq!((socket(libc::AF_VSOCK), socket(libc::AF_INET)), (REFUSED, RET_ALLOW));
        let netlink = |filter: &Filter, protocol: i32| {
            let arguments = [libc::AF_NETLINK as u32, 0, protocol as u32, 0, 0, 0];
            run(filter, AUDIT_ARCH, libc::SYS_socket as u32, arguments)
        };
        assert_eq!(netlink(&filter, libc::NETLINK_ROUTE), RET_ALLOW, "ip(8) needs it");
        assert_eq!(netlink(&filter, libc::NETLINK_AUDIT), RET_ERRNO | libc::EPROTONOSUPPORT as u32);
        let auditor = Filter::for_capabilities(CONTAINER.with("AUDIT_WRITE".parse().unwrap()));
        assert_eq!(netlink(&auditor, libc::NETLINK_AUDIT), RET_ALLOW, "the capability decides");
        let personality = |domain| run(&filter, AUDIT_ARCH, libc::SYS_personality as u32, [domain, 0, 0, 0, 0, 0]);
        assert_eq!((personality(0x40_0000), personality(0x8)), (REFUSED, RET_ALLOW));
    }

    #[test]
    fn a_capability_opens_the_calls_that_ask_for_it_and_no_others() {
        let answer_to = |filter: &Filter, call| run(filter, AUDIT_ARCH, call as u32, [libc::CLONE_NEWUSER as u32; 6]);
        let time = Filter::for_capabilities(CONTAINER.with("SYS_TIME".parse().unwrap()));
        assert_eq!(answer_to(&time, libc::SYS_clock_settime), RET_ALLOW);
        assert_eq!((answer_to(&time, libc::SYS_mount), answer_to(&time, libc::SYS_clone)), (REFUSED, REFUSED));
        let admin = Filter::for_capabilities(CONTAINER.with("SYS_ADMIN".parse().unwrap()));
        for call in [libc::SYS_mount, libc::SYS_clone, libc::SYS_clone3, libc::SYS_setns] {
            assert_eq!(answer_to(&admin, call), RET_ALLOW, "{call}");
        }
        assert_eq!(answer_to(&admin, libc::SYS_init_module), REFUSED);
        for (name, _) in ALLOWED_BY_CAPABILITY {
            assert!(name.parse::<crate::capability::Capability>().is_ok(), "{name} is a capability");
        }
    }

    #[test]
    fn a_call_by_another_convention_ends_the_process() {
        let filter = Filter::container();
        const I386: u32 = 0x4000_0003;
        assert_eq!(run(&filter, I386, 3, [0; 6]), RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&filter, AUDIT_ARCH, X32 + libc::SYS_read as u32, [0; 6]), RET_KILL_PROCESS);
    }
}
