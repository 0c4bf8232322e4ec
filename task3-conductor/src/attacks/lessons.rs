//! For each attack: its goal, what stops it, and the option that would allow it.

use serde::Serialize;

use super::{ATTACKS, SUCCEEDED};
use crate::spec::confinement::{Confinement, Strength};

/// The lesson of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lesson {
    /// Its name.
    pub name: &'static str,
    /// What it wants.
    pub goal: &'static str,
    /// What stops it in a container started without options.
    pub wall: &'static str,
    /// The least privileged options of `run` that allow it.
    pub opened_by: &'static [&'static str],
}

/// Result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was blocked.
    Stopped,
    /// It reached the kernel's own code, or succeeded.
    GotThrough,
    /// This kernel does not have the feature.
    NothingThere,
}

const PRIVILEGED: &[&str] = &["--privileged"];
const CHROOT: &[&str] = &["--weak", "chroot"];
const ADMIN: &[&str] = &["--cap-add", "SYS_ADMIN"];
const MKNOD: &[&str] = &["--cap-add", "MKNOD"];
const RAW: &[&str] = &["--cap-add", "NET_RAW"];
const BOOT: &[&str] = &["--cap-add", "SYS_BOOT"];
const PTRACE: &[&str] = &["--cap-add", "SYS_PTRACE"];

const READ_ONLY_PROC: &str = "/proc/sys is mounted read-only";
const MASKED: &str = "the file is masked by the null device";
const MOUNTING: &str = "mounting requires CAP_SYS_ADMIN, and seccomp blocks the call";
const ADMINS: &str = "it requires CAP_SYS_ADMIN, and seccomp blocks the call";
const SHUT: &str = "seccomp blocks the call for every process";

/// The attempts that leave nothing behind in the container, whatever their result.
#[rustfmt::skip]
const LESSONS: &[(&str, &str, &str, &[&str])] = &[
    ("chroot-escape", "leave the root by a second chroot below it", "pivot_root: the host's tree is not mounted here, so no path leads there", CHROOT),
    ("open-by-handle", "open a file of the host's by its number (\"Shocker\", 2014)", "it requires CAP_DAC_READ_SEARCH, and seccomp blocks the call", &["--cap-add", "DAC_READ_SEARCH"]),
    ("mknod-disk", "make a device node of the host's disk", "it requires CAP_MKNOD; and the root is mounted nodev, so the node would not work", MKNOD),
    ("mknod-memory", "make a device node of the machine's memory", "it requires CAP_MKNOD; and the root is mounted nodev, so the node would not work", MKNOD),
    ("core-pattern", "have the host run a program when one crashes", READ_ONLY_PROC, PRIVILEGED),
    ("modprobe-path", "have the host run a program to load modules", READ_ONLY_PROC, PRIVILEGED),
    ("panic-on-oom", "let the host panic when memory is used up", READ_ONLY_PROC, PRIVILEGED),
    ("kernel-memory", "read the kernel's memory in /proc/kcore", MASKED, PRIVILEGED),
    ("keys", "list the host's keys in /proc/keys", MASKED, PRIVILEGED),
    ("timers", "list the host's timers in /proc/timer_list", MASKED, PRIVILEGED),
    ("interrupts", "watch the host's keyboard in /proc/interrupts", MASKED, PRIVILEGED),
    ("sysfs-write", "change the kernel in /sys", "/sys is mounted read-only", PRIVILEGED),
    ("unmask", "unmount what masks /proc/keys", MOUNTING, ADMIN),
    ("remount-rw", "make /proc/sys writable", MOUNTING, ADMIN),
    ("mount-proc", "mount a /proc without masks", MOUNTING, ADMIN),
    ("mount-cgroup", "mount the cgroups, to leave the limits", MOUNTING, ADMIN),
    ("cgroup-mkdir", "make a cgroup of its own", "/sys/fs/cgroup is mounted read-only", PRIVILEGED),
    ("oom-score", "be the last to be killed when memory is used up", "it requires CAP_SYS_RESOURCE", &["--cap-add", "SYS_RESOURCE"]),
    ("priority", "go before all others on the processor", "it requires CAP_SYS_NICE", &["--cap-add", "SYS_NICE"]),
    ("user-namespace-unshare", "be root with all capabilities in a user namespace", "seccomp blocks unshare with CLONE_NEWUSER", ADMIN),
    ("user-namespace-clone", "the same by clone", "seccomp checks the flags of clone", ADMIN),
    ("clone3", "the same by clone3", "seccomp cannot read its flags, so it fails as not implemented", ADMIN),
    ("setns", "enter a namespace of the host's", ADMINS, ADMIN),
    ("bpf", "load a program into the kernel", "it requires CAP_BPF, and seccomp blocks the call", &["--cap-add", "BPF"]),
    ("perf", "watch the whole machine's processors", "it requires CAP_PERFMON, and seccomp blocks the call", &["--cap-add", "PERFMON"]),
    ("userfaultfd", "stop the kernel in the middle of a copy, to win a race", SHUT, PRIVILEGED),
    ("io-uring", "make calls that a filter does not see", SHUT, PRIVILEGED),
    ("keyctl", "look into the keyrings, which no namespace divides", SHUT, PRIVILEGED),
    ("add-key", "fill the keyrings", SHUT, PRIVILEGED),
    ("kcmp", "compare addresses of the kernel's objects", "it requires CAP_SYS_PTRACE, and seccomp blocks the call", PTRACE),
    ("pidfd-getfd", "take an open file from another process", "it requires CAP_SYS_PTRACE, and seccomp blocks the call", PTRACE),
    ("fsopen", "mount by the newer calls", MOUNTING, ADMIN),
    ("open-tree", "copy a mount", MOUNTING, ADMIN),
    ("reboot", "reboot the host", "it requires CAP_SYS_BOOT, and seccomp blocks the call", BOOT),
    ("kexec", "boot another kernel", "it requires CAP_SYS_BOOT, and seccomp blocks the call", BOOT),
    ("load-module", "load a module into the kernel", "it requires CAP_SYS_MODULE, and seccomp blocks the call", &["--cap-add", "SYS_MODULE"]),
    ("swapon", "swap to a file of its own", ADMINS, ADMIN),
    ("accounting", "have the kernel log all programs", "it requires CAP_SYS_PACCT, and seccomp blocks the call", &["--cap-add", "SYS_PACCT"]),
    ("clock", "set the host's clock", "it requires CAP_SYS_TIME, and seccomp blocks the call", &["--cap-add", "SYS_TIME"]),
    ("kernel-log", "read the kernel's log", "it requires CAP_SYSLOG, and seccomp blocks the call", &["--cap-add", "SYSLOG"]),
    ("host-name", "change the host name, which may be the host's", ADMINS, ADMIN),
    ("typing-into-a-terminal", "type a command into the caller's shell (CVE-2017-5226)", "the container has its own terminal, and seccomp blocks this request", PRIVILEGED),
    ("typing-with-high-bits", "the same, past a filter that compares 64 bits", "the filter compares the lower 32 bits, as the kernel does", PRIVILEGED),
    ("raw-packets", "send packets as somebody else", "it requires CAP_NET_RAW", RAW),
    ("raw-ip", "the same below TCP and UDP", "it requires CAP_NET_RAW", RAW),
    ("hypervisor-socket", "talk to the hypervisor past every firewall", "seccomp blocks sockets of that family", PRIVILEGED),
    ("other-convention", "make calls through the 32-bit ABI, whose numbers mean other calls", "seccomp kills a process that tries", PRIVILEGED),
];

/// Calls with an argument that does not exist: ENOENT means that they were not blocked.
const EXPECT_ENOENT: [&str; 2] = ["swapon", "accounting"];

/// All lessons, in order.
pub fn all() -> impl Iterator<Item = Lesson> {
    LESSONS.iter().map(|&(name, goal, wall, opened_by)| Lesson { name, goal, wall, opened_by })
}

impl Lesson {
    /// Makes the attempt, and gives its outcome.
    pub fn attempt(&self) -> String {
        ATTACKS.iter().find(|(name, _)| *name == self.name).map_or("UNKNOWN".to_owned(), |(_, attempt)| attempt())
    }

    /// Whether such a container is protected against it.
    pub(crate) fn has_wall(&self, confinement: Confinement) -> bool {
        match confinement.strength {
            Strength::Contained => true,
            Strength::Privileged => self.opened_by == CHROOT,
            Strength::Chroot => false,
        }
    }

    /// The meaning of an outcome.
    pub fn verdict(&self, outcome: &str) -> Verdict {
        match (self.name, outcome) {
            ("clone3", "ENOSYS") | ("other-convention", "SIGSYS" | "REFUSED") => Verdict::Stopped,
            (_, SUCCEEDED) => Verdict::GotThrough,
            (_, "EPERM" | "EACCES" | "EROFS" | "EMPTY" | "STILL INSIDE") => Verdict::Stopped,
            (name, "ENOENT") if !EXPECT_ENOENT.contains(&name) => Verdict::NothingThere,
            (_, "ENOSYS" | "EAFNOSUPPORT") => Verdict::NothingThere,
            _ => Verdict::GotThrough,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lesson_is_about_an_attack_and_every_harmless_attack_has_one() {
        for lesson in all() {
            assert!(ATTACKS.iter().any(|(name, _)| *name == lesson.name), "{}", lesson.name);
        }
        // These are about what a program brings along, or leave a file.
        let others = ["descriptors-of-the-caller", "planted-device", "set-user-id"];
        let without: Vec<&str> =
            ATTACKS.iter().map(|(name, _)| *name).filter(|name| all().all(|l| l.name != *name)).collect();
        assert_eq!(without, others);
    }

    #[test]
    fn an_errno_decides_the_verdict() {
        let lesson = |name: &str| all().find(|lesson| lesson.name == name).unwrap();
        for (name, outcome, verdict) in [
            ("reboot", "EPERM", Verdict::Stopped),
            ("reboot", "EINVAL", Verdict::GotThrough),
            ("keys", "EMPTY", Verdict::Stopped),
            ("keys", "SUCCEEDED", Verdict::GotThrough),
            ("timers", "ENOENT", Verdict::NothingThere),
            ("swapon", "ENOENT", Verdict::GotThrough),
            ("clone3", "ENOSYS", Verdict::Stopped),
            ("kexec", "ENOSYS", Verdict::NothingThere),
            ("other-convention", "SIGSYS", Verdict::Stopped),
        ] {
            assert_eq!(lesson(name).verdict(outcome), verdict, "{name} {outcome}");
        }
    }
}
