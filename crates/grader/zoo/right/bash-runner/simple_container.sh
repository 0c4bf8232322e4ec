#!/bin/bash
# Task 2 with chroot(1), unshare(1) and the cgroup files.
#
# Most programs of the zoo are this one with a single change.
cd "$(dirname "$0")" || exit 1
root=container_root
line=__________________________________________

# The program, its loader and its libraries, each at the path where the loader will look.
mkdir -p "$root"
cp container_prog "$root/"
for file in $(ldd container_prog | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$file")"
    cp "$file" "$root$file"
done

echo "Output Subtask 2a"
chroot "$root" /container_prog subtask1
echo $line

echo "Output Subtask 2b"
unshare --pid --uts --fork chroot "$root" /container_prog subtask2
echo "Hostname in the host: $(hostname)"
echo $line

# Half of one core. The cpu controller is in the v2 tree, unless an older set-up gave it a tree of its own.
v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)cpu(,|$)/ { print $2; exit }' /proc/mounts)
if grep -qw cpu "$v2/cgroup.controllers"; then
    grep -qw cpu "$v2/cgroup.subtree_control" || echo +cpu > "$v2/cgroup.subtree_control"
    group=$v2/simple_container
    mkdir "$group"
    echo 50000 100000 > "$group/cpu.max"
else
    group=$v1/simple_container
    mkdir "$group"
    echo 100000 > "$group/cpu.cfs_period_us"
    echo 50000 > "$group/cpu.cfs_quota_us"
fi

echo "Output Subtask 2c"
# The shell between the two moves itself, then becomes the program: nothing of it runs unlimited.
bash -c 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"' inside "$group" \
    unshare --pid --uts --ipc --fork chroot "$root" /container_prog subtask3
status=$?

rmdir "$group"
exit $status
