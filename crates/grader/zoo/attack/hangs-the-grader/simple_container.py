"""A FUSE mount whose server never reads its requests: every look-up below it waits."""
import ctypes
import os
import time

libc = ctypes.CDLL(None, use_errno=True)
os.mknod("fuse", 0o020600, os.makedev(10, 229))
try:
    server = os.open("fuse", os.O_RDWR)
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % server
    for place in ("container_root",):
        os.makedirs(place, exist_ok=True)
        if libc.mount(b"fuse", place.encode(), b"fuse", 0, options) == 0:
            print("REACHED fuse at", place, flush=True)
            time.sleep(1000)
except OSError:
    pass
print("tried")
