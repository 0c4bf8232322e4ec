"""In the box, all of this goes to copies. That the machine has none of it is seen by comparing it before and after."""
import ctypes
import mmap
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
MARK = b"# grade-attack\n"
# What statfs(2) tells of an overlay, a tmpfs and the anonymous files of processes.
OWN = {0x794C7630, 0x01021994, 0x09041934, 0x958458F6}


def kind(descriptor):
    found = ctypes.create_string_buffer(256)
    libc.fstatfs(descriptor, found)
    return struct.unpack_from("l", found.raw)[0] & 0xFFFFFFFF


def attempt(act, *arguments):
    try:
        act(*arguments)
    except OSError:
        pass


def append(path):
    with open(path, "ab") as file:
        file.write(MARK)


def through_memory(path):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:1] = b"#"


def through_a_reader(path):
    """The file is opened for reading first, and again for writing by way of that."""
    reading = os.open(path, os.O_RDONLY)
    writing = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY)
    os.pwrite(writing, b"#", 0)


def attributes(path):
    os.chmod(path, 0o600)
    os.utime(path, (0, 0))
    os.setxattr(path, "trusted.grade-attack", b"x")


for act in (append, through_memory, through_a_reader, attributes):
    attempt(act, "/etc/profile")
attempt(os.link, "/etc/profile", "/etc/grade-attack-link")
attempt(os.rename, "/etc/profile", "/etc/grade-attack-moved")
# Files as they are mapped: here, some kernels show what lies below an overlay.
for name in os.listdir("/proc/self/map_files"):
    for flags in (os.O_RDONLY, os.O_RDWR):
        try:
            descriptor = os.open(f"/proc/self/map_files/{name}", flags)
        except OSError:
            continue
        if kind(descriptor) not in OWN:
            print("REACHED a file below the overlay", os.readlink(f"/proc/self/map_files/{name}"), hex(kind(descriptor)))
        os.close(descriptor)
print("tried")
