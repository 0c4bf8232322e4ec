"""Each call has arguments with which the kernel does nothing; how it answers shows whether it was let through."""
import ctypes
import errno
import mmap
import os
import platform
import resource
import socket

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)


def answer(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number), *words), ctypes.get_errno()


def tries(name, number, *arguments, refusals=REFUSALS):
    """`number` is the call's: on x86-64 and on all others, or one for both."""
    if isinstance(number, tuple):
        number = number[0] if X86 else number[1]
    result, why = answer(number, *arguments)
    if result >= 0 or why not in refusals:
        print("REACHED", name, result, os.strerror(why))
    return result


def numbers(*values):
    return ctypes.byref((ctypes.c_uint32 * max(len(values), 40))(*values))


NOWHERE = ctypes.c_char_p(b"/no/such/file")
# BPF_MAP_CREATE of an array: type 2, key 4, value 8, one entry.
tries("bpf", (321, 280), 0, numbers(2, 4, 8, 1), 128)
# A software counter (type 1) of this process's page faults, from struct perf_event_attr of 112 bytes.
tries("perf_event_open", (298, 241), numbers(1, 112, 2), 0, -1, -1, 0)
tries("io_uring_setup", 425, 1, numbers())
tries("io_uring_enter", 426, -1, 0, 0, 0, 0, 0)
tries("io_uring_register", 427, -1, 0, 0, 0)
# -4: the user's keyring, which outlives the box; the key is taken out again.
serial = tries("add_key", (248, 217), ctypes.c_char_p(b"user"), ctypes.c_char_p(b"grade-attack"), ctypes.c_char_p(b"x"), 1, -4)
if serial >= 0:
    answer(250 if X86 else 219, 9, serial, -4)
tries("request_key", (249, 218), ctypes.c_char_p(b"user"), ctypes.c_char_p(b"grade-attack-none"), 0, 0)
tries("keyctl", (250, 219), 0, -4, 0)
# Flags that do not exist, an image of no length, a module that is none.
tries("kexec_load", (246, 104), 0, 0, 0, 0xFF)
tries("kexec_file_load", (320, 294), -1, -1, 0, 0, 0xFF00)
tries("init_module", (175, 105), 0, 0, ctypes.c_char_p(b""))
tries("finit_module", (313, 273), -1, ctypes.c_char_p(b""), 0)
tries("delete_module", (176, 106), ctypes.c_char_p(b"no-such-module"), 0)
tries("swapon", (167, 224), NOWHERE, 0)
tries("swapoff", (168, 225), NOWHERE)
# Q_GETFMT, of a device that is none and of a descriptor that is none.
tries("quotactl", (179, 60), 0x80000400, NOWHERE, 0, numbers())
tries("quotactl_fd", 443, -1, 0x80000400, 0, numbers())
tries("acct", (163, 89), NOWHERE)
tries("fanotify_init", (300, 262), 4, 0)
tries("userfaultfd", (323, 282), 0)
# A handle of a kind that no file system has.
tries("open_by_handle_at", (304, 265), -100, numbers(8, 0xFF), 0)
# The length of the kernel's log buffer.
tries("syslog", (103, 116), 10, 0, 0)
# A length of the clock's tick that is not possible, and a magic number that is none.
tries("adjtimex", (159, 171), numbers(0x4000))
tries("reboot", (169, 142), 0, 0, 0, 0)
# A page that is not there is to be taken out of the machine's memory.
address = libc.mmap(0, mmap.PAGESIZE, 3, 0x22, -1, 0)
libc.munmap(ctypes.c_long(address), mmap.PAGESIZE)
# EINVAL: the kernel cannot do it (CONFIG_MEMORY_FAILURE).
for advice in (100, 101):
    tries("madvise MADV_HWPOISON", (28, 233), address, mmap.PAGESIZE, advice, refusals=(errno.EPERM, errno.EINVAL))
# The real-time class for reads from disks, and the usual one again.
if tries("ioprio_set", (251, 30), 1, 0, 1 << 13 | 7) >= 0:
    answer(251 if X86 else 30, 1, 0, 0)
# The first mount of other mount namespaces, whose numbers are small ones; the last belong to the machine's own.
for namespace in [*range(1, 200), *range(0xEFFFFFF0, 0xF0000000)]:
    request, found = (ctypes.c_uint64 * 4)(32, 2**64 - 1, 0, namespace), (ctypes.c_uint64 * 1)()
    if answer(458, ctypes.byref(request), ctypes.byref(found), 1, 0)[0] > 0:
        print("REACHED listmount of mount namespace", namespace)
        break
answer(457, numbers(0), 0, 0, 0)
# The kernel's own generator of random numbers is to be seeded anew.
if libc.ioctl(os.open("/dev/urandom", os.O_RDONLY), 0x5207) == 0:
    print("REACHED the random device")
for family, protocol in ((40, 0), (38, 0), (16, 9), (16, 11), (16, 21)):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_SEQPACKET, protocol)
        print("REACHED socket of family", family, "protocol", protocol)
    except OSError:
        pass
try:
    os.nice(-1)
    print("REACHED nice")
except PermissionError:
    pass
# Without the capability, a limit above 0 would do.
try:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (1, 1))
except (PermissionError, ValueError):
    pass
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    print("REACHED real-time scheduling")
except PermissionError:
    pass
# An attribute of a file that all of the machine sees.
for path in ("/sys/kernel", "/proc/self/root/sys/kernel"):
    try:
        os.setxattr(path, "trusted.grade-attack", b"x")
        print("REACHED attributes of", path)
        os.removexattr(path, "trusted.grade-attack")
    except OSError:
        pass
# From this mount namespace to another of the machine, in both directions; and the console's output to a terminal.
namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
information = (ctypes.c_uint32 * 4)(16)
for step in (0x8010B70B, 0x8010B70C):
    if libc.ioctl(namespace, ctypes.c_ulong(step), ctypes.byref(information)) >= 0:
        print("REACHED another mount namespace")
if libc.ioctl(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), 0x541D) == 0:
    print("REACHED the console")
# N_NULL, the line discipline that does nothing, and a call of a kernel to come.
if libc.ioctl(os.openpty()[1], 0x5423, ctypes.byref(ctypes.c_int(27))) == 0:
    print("REACHED line disciplines")
tries("a call of a kernel to come", 470, 0, 0, 0, 0, 0, 0)
# A lease makes whoever opens the file wait.
own = os.open("own", os.O_RDONLY | os.O_CREAT)
if libc.fcntl(own, 1024, 1) == 0:
    print("REACHED leases")
# 1 and not 0: with 0, the machine's own program for core dumps would be run, where it has one. So it must stay 1.
before = resource.getrlimit(resource.RLIMIT_CORE)
try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ValueError:
    pass
after = resource.getrlimit(resource.RLIMIT_CORE)
pattern = open("/proc/sys/kernel/core_pattern").read().strip()
if after != before or before not in ((1, 1), (0, 0)):
    print("REACHED core dumps", before, after)
elif before == (0, 0) and pattern[:1] in ("|", "@"):
    print("NOT TRIED core dumps: they go to a program of this machine, and grade was started below a limit of 0")
print("tried")
