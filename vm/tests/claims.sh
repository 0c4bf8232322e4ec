# shellcheck shell=bash
# How the parts of vm/test say what they saw. To be sourced by them, inside the machine, as cs695.
#
#   claim TEXT COMMAND…   holds when the command ends with 0; what it printed is shown when it does not
#   skip TEXT REASON      cannot be tried here
#   as_root COMMAND…      by sudo, which asks for the password; stdin is the command's
#   within SECONDS COMMAND…   asks again until it ends with 0
#
# Each claim is one line that begins with "ok", "FAILED" or "skipped": vm/test counts them.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$top/target/release
# On the disk, not in memory.
work=$(mktemp -d /var/tmp/vm-test.XXXXXX)
trap leave EXIT

claim() {
    local text=$1
    shift
    if "$@" >"$work/said" 2>&1 </dev/null; then
        echo "ok       $text"
    else
        echo "FAILED   $text"
        printf '         $ %s\n' "$*"
        sed 's/^/         /' "$work/said" | tail -n 20
    fi
}

skip() { echo "skipped  $1: $2"; }

as_root() { SUDO_ASKPASS=$top/vm/tests/password sudo -A "$@"; }

within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# The conductor with its state where it keeps it without being told.
conductor() { as_root "$bin/conductor" "$@"; }

# Whether `conductor VERB` has an option.
has_option() { "$bin/conductor" "$1" --help 2>/dev/null </dev/null | grep -q -- "$2"; }

# An image of this machine's own programs, which needs no network.
have_image() { conductor -q images | grep -qx img || conductor -q build --from host img; }

# A container's directory in the tree of control groups.
group_of() { find /sys/fs/cgroup -type d -name "conductor*$1*" -print -quit | grep .; }

# Whether it has that line in that file.
group_has() { grep -qx -- "$3" "$(group_of "$1")/$2" || { head "$(group_of "$1")/$2" && return 1; }; }

leave() {
    # What a part that broke off has left running.
    local name
    for name in ${containers:-}; do conductor stop -t 0 "$name" >/dev/null 2>&1 </dev/null; done
    as_root rm -rf "$work"
}
