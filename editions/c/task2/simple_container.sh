#!/bin/bash
# Task 2 with chroot(1), unshare(1) and the files of a cgroup: one program in three containers, each with a wall more.
#
# Write what stands between BEGIN LESSON and END LESSON, and change nothing else.
cd "$(dirname "$0")" || exit 1
root=container_root
line=__________________________________________

echo "Output Subtask 2a"
# BEGIN LESSON 2.a (8 marks): a program in a root directory of its own
# The program, its loader and its libraries, each at the path where the loader will look.
mkdir -p "$root"
cp container_prog "$root/"
for file in $(ldd container_prog | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$file")"
    cp "$file" "$root$file"
done
chroot "$root" /container_prog subtask1
# END LESSON 2.a
echo $line

echo "Output Subtask 2b"
# BEGIN LESSON 2.b (8 marks): process numbers and a host name of its own
unshare --pid --uts --fork chroot "$root" /container_prog subtask2
# END LESSON 2.b
echo "Hostname in the host: $(hostname)"
echo $line

echo "Output Subtask 2c"
# Where the cgroups of version 2 are, and a set-up that still gives the cpu controller a tree of version 1.
v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)cpu(,|$)/ { print $2; exit }' /proc/mounts)
# `status` becomes the exit status of the container.
# BEGIN LESSON 2.c (10 marks): IPC of its own, and half of one core
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
# The shell between the two moves itself, then becomes the program: nothing of it runs unlimited.
# shellcheck disable=SC2016 # expanded by the shell inside
bash -c 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"' inside "$group" \
    unshare --pid --uts --ipc --fork chroot "$root" /container_prog subtask3
status=$?
rmdir "$group"
# END LESSON 2.c
exit $status
