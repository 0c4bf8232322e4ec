#!/bin/bash
# Opens for writing and writes nothing; the one value that is written is the one that is there.
opens() { if (: >>"$1") 2>/dev/null; then echo "REACHED $1"; fi; }
rewrites() { if (cat "$1" >/tmp/value && cat /tmp/value >"$1") 2>/dev/null; then echo "REACHED $1"; fi; }
mkdir -p /tmp/proc /tmp/sys
for round in covered uncovered fresh by-self; do
    case $round in
    covered) proc=/proc sys=/sys ;;
    uncovered) umount /proc/sys /proc/sysrq-trigger; mount -o remount,rw /sys ;;
    fresh) mount -t proc proc /tmp/proc && proc=/tmp/proc; mount -t sysfs sysfs /tmp/sys && sys=/tmp/sys ;;
    by-self) proc=/proc/self/root/tmp/proc sys=/proc/thread-self/root/tmp/sys ;;
    esac 2>/dev/null
    for setting in kernel/core_pattern kernel/modprobe vm/swappiness fs/file-max; do opens $proc/sys/$setting; done
    rewrites $proc/sys/kernel/printk_ratelimit_burst
    # Among the settings of network namespaces, and the machine's: 0 is what it has, unless somebody has set it for good.
    lwtunnel=$proc/sys/net/netfilter/nf_hooks_lwtunnel
    [ -e $lwtunnel ] && rewrites $lwtunnel
    for file in sysrq-trigger irq/default_smp_affinity mtrr; do [ -e $proc/$file ] && opens $proc/$file; done
    for file in kernel/mm/ksm/run devices/system/cpu/cpu0/power/control kernel/uevent_helper power/state; do
        [ -e $sys/$file ] && opens $sys/$file
    done
    [ -e $sys/kernel/mm/ksm/run ] && chmod 644 $sys/kernel/mm/ksm/run 2>/dev/null && echo "REACHED mode of ksm/run"
done
echo tried
