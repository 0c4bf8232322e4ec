"""Puts GRUB's first stages into a disk file, as grub-bios-setup does into a block device.

    bios_boot.py DISK BOOT_IMG CORE_IMG FIRST_SECTOR SECTORS

A BIOS reads one sector, the first, and runs it. 440 bytes of code fit there before the partition table: boot.img. It
reads one more sector, at an address we write into it. That is the first of core.img, and it holds in its last 12 bytes
the list of the sectors to read next. On a GPT disk core.img lives in a partition of its own, FIRST_SECTOR and SECTORS.
"""

import struct
import sys

SECTOR = 512
BOOT_CODE_SIZE = 440  # then disk signature and partition table
KERNEL_SECTOR = 0x5C  # offset in boot.img: 64-bit sector of core.img
BOOT_DRIVE_CHECK = 0x66  # offset in boot.img: a jump that a hard disk replaces by two NOPs
BLOCK_LIST = SECTOR - 12  # offset in core.img: 64-bit sector, 16-bit count, 16-bit segment
LOAD_SEGMENT = 0x820  # memory address 0x8200, right after the sector already loaded at 0x8000


def main():
    disk, boot_img, core_img = sys.argv[1:4]
    first, available = map(int, sys.argv[4:])
    with open(boot_img, "rb") as file:
        boot = bytearray(file.read(BOOT_CODE_SIZE))
    with open(core_img, "rb") as file:
        core = bytearray(file.read())
    core += bytes(-len(core) % SECTOR)
    sectors = len(core) // SECTOR
    if sectors > available:
        sys.exit(f"bios_boot: {core_img} needs {sectors} sectors, its partition has {available}")

    struct.pack_into("<Q", boot, KERNEL_SECTOR, first)
    boot[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    struct.pack_into("<QHH", core, BLOCK_LIST, first + 1, sectors - 1, LOAD_SEGMENT)

    with open(disk, "r+b") as file:
        file.write(boot)
        file.seek(first * SECTOR)
        file.write(core)


main()
