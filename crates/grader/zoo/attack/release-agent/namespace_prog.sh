#!/bin/bash
# The program named is none, and nothing that would start it is done: notify_on_release stays 0.
mkdir -p /tmp/v1
# The last is one in which the box has no cgroup, if the machine has such a one: its root is the machine's.
for controllers in memory pids cpu devices freezer none,name=grade-attack; do
    mount -t cgroup -o $controllers none /tmp/v1 2>/dev/null || continue
    agent=/tmp/v1/release_agent
    [ -e $agent ] && echo "REACHED the root of $controllers"
    [ -e $agent ] && echo /grade/attack/marker >$agent && grep -q marker $agent && echo "REACHED release_agent of $controllers"
    [ -e $agent ] && echo >$agent
    mount -o remount,$controllers,release_agent=/grade/attack/marker /tmp/v1 2>/dev/null && echo "REACHED release_agent of $controllers"
    # Not every mount(8) takes an empty value.
    mount -o remount,$controllers,release_agent= /tmp/v1 2>/dev/null
    [ -e $agent ] && echo >$agent
    umount /tmp/v1
done
echo tried
