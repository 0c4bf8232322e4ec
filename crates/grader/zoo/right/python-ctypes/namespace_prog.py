#!/usr/bin/env python3
"""Task 1 in Python: os.fork, and the C library's setns and unshare by ctypes."""
import ctypes
import os
import signal
import socket

CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}")
    return result


def introduce(who):
    print(f"{who} Process PID: {os.getpid()}\n{who} Hostname: {socket.gethostname()}\n{'-' * 40}", flush=True)


def born(body):
    """Forks; the child runs `body` and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def child1():
    call("unshare", CLONE_NEWUTS)
    socket.sethostname("Child1Hostname")
    introduce("Child1")
    os.write(ready[1], b"r")
    signal.pause()


def child2():
    call("setns", pidfd, CLONE_NEWUTS)
    introduce("Child2")


print("-" * 40)
introduce("Parent")

ready = os.pipe()
call("unshare", CLONE_NEWPID)  # moves nobody; the next child is born there
first = born(child1)
os.read(ready[0], 1)
introduce("Parent")

pidfd = os.pidfd_open(first)
call("setns", pidfd, CLONE_NEWPID)
os.waitpid(born(child2), 0)
introduce("Parent")

os.kill(first, signal.SIGKILL)
os.waitpid(first, 0)
