#!/bin/bash
# A conductor in the manner of the older handout: errors end the script, the host's side of the mounts is made before
# unshare(1), stop looks for what waits by the path of the root, and who passes through the host is left to the policy
# of FORWARD, which is DROP from the first time that no container is left.
set -o errexit -o nounset -o pipefail
SCRIPTDIR="$(dirname "$(realpath "$0")")"
source "$SCRIPTDIR/config.sh"

die() {
    echo "$1" >&2
    exit 1
}

usage() {
    cat <<TEXT
Usage: conductor.sh build IMAGE
       conductor.sh images
       conductor.sh rmi IMAGE
       conductor.sh run IMAGE CONTAINER -- [command <args>]
       conductor.sh ps
       conductor.sh stop CONTAINER
       conductor.sh exec CONTAINER -- [command <args>]
       conductor.sh addnetwork CONTAINER [-i|--internet] [-e|--expose <inner-port>-<outer-port>]
       conductor.sh peer CONTAINER CONTAINER
TEXT
}

# The command behind `--`, else a shell.
CMD=()
set_command() {
    [ "${1:-}" = "--" ] && shift
    CMD=("$@")
    [ ${#CMD[@]} -gt 0 ] || CMD=(/bin/bash)
}

require_container() {
    [ -n "${1:-}" ] || die "Container name is required"
    [ -d "$CONTAINERDIR/$1" ] || die "Container $1 does not exist"
}

# Process 1 of a container: the only child of the unshare that waits for it.
container_pid() {
    local WAITER
    WAITER=$(pgrep -f "^unshare .*$CONTAINERDIR/$1/rootfs") || die "Container $1 is not running"
    ps --ppid "$WAITER" -o pid= | tr -d ' '
}

build() {
    [ -n "${1:-}" ] || die "Image name is required"
    [ ! -d "$IMAGEDIR/$1" ] || die "Image $1 exists already"
    mkdir -p "$IMAGEDIR"
    debootstrap bookworm "$IMAGEDIR/$1" http://deb.debian.org/debian
}

images() {
    local LIST
    LIST=$(ls "$IMAGEDIR" 2>/dev/null) || true
    if [ -z "$LIST" ]; then
        echo "No images found"
        return
    fi
    printf "%-20s %-10s %s\n" "Name" "Size" "Date"
    for NAME in $LIST; do
        printf "%-20s %-10s %s\n" "$NAME" "$(du -sh "$IMAGEDIR/$NAME" | cut -f1)" "$(date -r "$IMAGEDIR/$NAME" +%Y-%m-%d)"
    done
}

rmi() {
    [ -d "$IMAGEDIR/${1:-none}" ] || die "Image does not exist"
    rm -rf "${IMAGEDIR:?}/$1"
    echo "$1 succesfully removed"
}

run() {
    local IMAGE=${1:-} NAME=${2:-}
    [ -n "$IMAGE" ] && [ -n "$NAME" ] || die "Image and container name are required"
    shift 2
    set_command "$@"
    [ -d "$IMAGEDIR/$IMAGE" ] || die "Image $IMAGE does not exist"
    [ ! -e "$CONTAINERDIR/$NAME" ] || die "Container $NAME exists already"
    local ROOT="$CONTAINERDIR/$NAME/rootfs"
    mkdir -p "$CONTAINERDIR/$NAME"
    cp -a "$IMAGEDIR/$IMAGE" "$ROOT"
    mount --bind /dev "$ROOT/dev"
    # Subtask 3a
    unshare --fork --kill-child --pid --net --uts --ipc --mount \
        chroot "$ROOT" /bin/bash -c 'mount -t proc proc /proc && mount -t sysfs sysfs /sys && exec "$@"' run "${CMD[@]}"
}

list_containers() {
    local LIST
    LIST=$(ls "$CONTAINERDIR" 2>/dev/null) || true
    if [ -z "$LIST" ]; then
        echo "No containers found"
        return
    fi
    printf "%-20s %-10s\n" "Name" "Date"
    for NAME in $LIST; do
        printf "%-20s %-10s\n" "$NAME" "$(date -r "$CONTAINERDIR/$NAME" +%Y-%m-%d)"
    done
}

stop() {
    local NAME=${1:-}
    require_container "$NAME"
    # --kill-child takes process 1 along, and that all others.
    local WAITER
    for WAITER in $(pgrep -f "^unshare .*$CONTAINERDIR/$NAME/rootfs"); do
        kill -9 "$WAITER"
        while [ -d "/proc/$WAITER" ]; do sleep 0.05; done
    done
    umount "$CONTAINERDIR/$NAME/rootfs/dev"
    rm -rf --one-file-system "${CONTAINERDIR:?}/$NAME"
    forget_rules "$NAME"
    if [ -z "$(ls "$CONTAINERDIR")" ]; then
        iptables -P FORWARD DROP
    fi
    echo "$NAME succesfully removed"
}

execute() {
    local NAME=${1:-} PID
    require_container "$NAME"
    shift
    set_command "$@"
    PID=$(container_pid "$NAME")
    echo "Executing ${CMD[*]} in $NAME container!"
    # Subtask 3b
    nsenter --target "$PID" --uts --pid --net --mount --ipc --root --wd "${CMD[@]}"
}

rule() {
    iptables -t "$2" -A "$3" "${@:4}" -m comment --comment "container $1."
}

forget_rules() {
    for TABLE in nat filter; do
        iptables-save -t "$TABLE" | { grep -- "container $1\." || true; } | sed 's/^-A/-D/' | while read -r RULE; do
            eval "iptables -t $TABLE $RULE"
        done
    done
}

addnetwork() {
    local NAME= INTERNET=0 EXPOSE= PID N=1
    while [ $# -gt 0 ]; do
        case "$1" in
        -i | --internet) INTERNET=1 ;;
        -e | --expose)
            [[ "${2:-}" =~ ^[0-9]+-[0-9]+$ ]] || die "The ports to expose are written <inner-port>-<outer-port>"
            EXPOSE=$2
            shift
            ;;
        *) NAME=$1 ;;
        esac
        shift
    done
    require_container "$NAME"
    PID=$(container_pid "$NAME")
    while [[ "$(ip -4 -o addr)" == *" $IP4_SUBNET.$N.1/24 "* ]]; do N=$((N + 1)); done
    local INSIDE="$NAME-inside" OUTSIDE="$NAME-outside" HOST_IP="$IP4_SUBNET.$N.1" PEER_IP="$IP4_SUBNET.$N.2"
    # Subtask 3c
    ip link add "$OUTSIDE" type veth peer name "$INSIDE"
    ip link set "$INSIDE" netns "$PID"
    ip addr add "$HOST_IP/24" dev "$OUTSIDE"
    ip link set "$OUTSIDE" up
    nsenter --target "$PID" --net ip link set lo up
    nsenter --target "$PID" --net ip link set "$INSIDE" up
    nsenter --target "$PID" --net ip addr add "$PEER_IP/24" dev "$INSIDE"
    echo "Setting up network '$NAME' with peer ip $PEER_IP. Waiting for interface configuration to settle..."
    sleep 0.5
    nsenter --target "$PID" --net ip route add "$IP4_SUBNET.0.0/16" via "$HOST_IP"
    if [ "$INTERNET" = 1 ]; then
        echo 1 >/proc/sys/net/ipv4/ip_forward
        nsenter --target "$PID" --net ip route add default via "$HOST_IP"
        rule "$NAME" nat POSTROUTING -s "$PEER_IP" -o "$DEFAULT_IFC" -j MASQUERADE
        rule "$NAME" filter FORWARD -i "$OUTSIDE" -o "$DEFAULT_IFC" -j ACCEPT
        rule "$NAME" filter FORWARD -i "$DEFAULT_IFC" -o "$OUTSIDE" -j ACCEPT
    fi
    if [ -n "$EXPOSE" ]; then
        local OWN
        OWN=$(ip -4 -o addr show dev "$DEFAULT_IFC" | awk '{ split($4, part, "/"); print part[1] }')
        rule "$NAME" nat PREROUTING -p tcp -i "$DEFAULT_IFC" --dport "${EXPOSE#*-}" -j DNAT --to-destination "$PEER_IP:${EXPOSE%-*}"
        rule "$NAME" nat OUTPUT -p tcp -d "$OWN" --dport "${EXPOSE#*-}" -j DNAT --to-destination "$PEER_IP:${EXPOSE%-*}"
        rule "$NAME" filter FORWARD -p tcp -d "$PEER_IP" --dport "${EXPOSE%-*}" -j ACCEPT
        rule "$NAME" filter FORWARD -p tcp -s "$PEER_IP" --sport "${EXPOSE%-*}" -j ACCEPT
    fi
}

peer() {
    require_container "${1:-}"
    require_container "${2:-}"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    iptables -A FORWARD -i "$1-outside" -o "$2-outside" -j ACCEPT -m comment --comment "container $1. container $2."
    iptables -A FORWARD -i "$2-outside" -o "$1-outside" -j ACCEPT -m comment --comment "container $1. container $2."
}

echo "CS695 Conductor that manages containers"
[ "$EUID" -eq 0 ] || die "You need to run this script as root"
COMMAND=${1:-}
[ $# -eq 0 ] || shift
case "$COMMAND" in
build) build "$@" ;;
images) images ;;
rmi) rmi "$@" ;;
run) run "$@" ;;
ps) list_containers ;;
stop) stop "$@" ;;
exec) execute "$@" ;;
addnetwork) addnetwork "$@" ;;
peer) peer "$@" ;;
-h | --help) usage ;;
*)
    usage
    exit 1
    ;;
esac
