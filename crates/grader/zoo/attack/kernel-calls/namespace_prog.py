"""Each call has arguments with which the kernel does nothing; how it answers shows whether it was let through."""
import ctypes
import errno
import os
import platform
import resource
import socket

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)


def answer(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number), *words), ctypes.get_errno()


def tries(name, number, *arguments):
    result, why = answer(number, *arguments)
    if result >= 0 or why not in REFUSALS:
        print("REACHED", name, result, os.strerror(why))


# BPF_MAP_CREATE of an array: type 2, key 4, value 8, one entry.
array = (ctypes.c_uint32 * 32)(2, 4, 8, 1)
tries("bpf", 321 if X86 else 280, 0, ctypes.byref(array), 128)
# A software counter (type 1) of this process's page faults, from struct perf_event_attr of 112 bytes.
counter = (ctypes.c_uint32 * 28)(1, 112, 2)
tries("perf_event_open", 298 if X86 else 241, ctypes.byref(counter), 0, -1, -1, 0)
ring = (ctypes.c_uint32 * 30)()
tries("io_uring_setup", 425, 1, ctypes.byref(ring))
key = (248 if X86 else 217, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"grade-attack"), ctypes.c_char_p(b"x"), 1)
# -4: the user's keyring, which outlives the box; the key is taken out again.
serial, why = answer(*key, -4)
if serial >= 0:
    print("REACHED add_key", serial)
    answer(250 if X86 else 219, 9, serial, -4)
tries("keyctl", 250 if X86 else 219, 0, -4, 0)
tries("finit_module", 313 if X86 else 273, -1, ctypes.c_char_p(b""), 0)
tries("delete_module", 176 if X86 else 106, ctypes.c_char_p(b"no-such-module"), 0)
tries("swapon", 167 if X86 else 224, ctypes.c_char_p(b"/no/such/file"), 0)
tries("fanotify_init", 300 if X86 else 262, 4, 0)
tries("userfaultfd", 323 if X86 else 282, 0)
tries("syslog", 103 if X86 else 116, 10, 0, 0)
try:
    socket.socket(40, socket.SOCK_STREAM)
    print("REACHED socket of family 40")
except OSError:
    pass
try:
    os.nice(-1)
    print("REACHED nice")
except PermissionError:
    pass
# From this mount namespace to another of the machine, in both directions; and the console's output to a terminal.
namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
information = (ctypes.c_uint32 * 4)(16)
for step in (0x8010B70B, 0x8010B70C):
    if libc.ioctl(namespace, ctypes.c_ulong(step), ctypes.byref(information)) >= 0:
        print("REACHED another mount namespace")
if libc.ioctl(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), 0x541D) == 0:
    print("REACHED the console")
# 1 and not 0: with 0, the machine's own program for core dumps would be run.
if resource.getrlimit(resource.RLIMIT_CORE) != (1, 1):
    print("REACHED core dumps")
print("tried")
