#!/bin/bash
# Opens each device and reads or writes nothing, but for a line of its own in the kernel's log.
cd /tmp || exit 1
try() {
    mknod "$1" "$2" "$3" "$4" 2>/dev/null
    if (exec 3<"$1") 2>/dev/null; then echo "REACHED reading $1"; fi
    if (exec 3>>"$1") 2>/dev/null; then echo "REACHED writing $1"; fi
}
try mem c 1 1; try kmsg c 1 11; try console c 5 1; try tty0 c 4 0; try kvm c 10 232; try fuse c 10 229
try tun c 10 200; try loop-control c 10 237; try hwrng c 10 183; try autofs c 10 235; try loop0 b 7 0; try vda b 254 0; try sda b 8 0
(echo 'grade-attack: a line from the box' >kmsg) 2>/dev/null
mkdir -p host
mount -t devtmpfs dev host 2>/dev/null
# The marker is a node of a device that anybody may have.
mknod host/grade-attack-marker c 1 3 2>/dev/null
for name in kmsg loop-control vda sda console; do [ -e host/$name ] && echo "REACHED the machine's /dev: $name"; done
for kind in debugfs tracefs securityfs binfmt_misc pstore configfs efivarfs bpf fusectl resctrl rpc_pipefs; do
    mount -t $kind none host 2>/dev/null && echo "REACHED $kind"
done
echo tried
