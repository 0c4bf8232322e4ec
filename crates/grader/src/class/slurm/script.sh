#!/bin/bash
# One index of the array: grades one student's submission, in a folder for temporary files of its own, which goes with it.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
TMPDIR=$(mktemp -d) || exit 3
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
./grade class-worker . "$SLURM_ARRAY_TASK_ID" &
worker=$!
trap 'kill -TERM "$worker" 2>/dev/null' TERM INT HUP
# A signal ends wait(1) before the worker has taken its box down.
while wait "$worker"; code=$?; kill -0 "$worker" 2>/dev/null; do :; done
exit "$code"
