#!/bin/bash
# Task 3: a container manager from the command line's own tools. An image is a folder, a container a copy of it. Rules of
# the packet filter carry the container's name in a comment, by which `stop` finds them again.
#
# Write what stands between BEGIN LESSON and END LESSON, and change nothing else.
cd "$(dirname "$0")" || exit 1
# shellcheck source=/dev/null
. ./config.sh || exit 1
here=$PWD
images=$here/.images
containers=$here/.containers

fail() {
    echo "conductor: $*" >&2
    exit 1
}

# A container that runs, by the number of its first process.
pid_of() {
    [[ -d $containers/$1 ]] || fail "no container is called $1"
    pid=$(cat "$containers/$1/pid" 2>/dev/null) || fail "$1 has not started"
    [[ -d /proc/$pid ]] || fail "$1 does not run"
    echo "$pid"
}

build() {
    [[ -e $images/$1 ]] && fail "there is an image called $1"
    mkdir -p "$images"
    debootstrap bookworm "$images/$1" "$MIRROR" || fail "debootstrap failed"
}

list_images() {
    local image found=
    for image in "$images"/*; do
        [[ -d $image ]] || continue
        [[ $found ]] || printf '%-20s %-10s %s\n' Name Size Date
        found=yes
        printf '%-20s %-10s %s\n' "${image##*/}" "$(du -sh "$image" | cut -f 1)" "$(date -r "$image" +%F)"
    done
    [[ $found ]] || echo 'No images found'
}

list_containers() {
    local container found=
    for container in "$containers"/*; do
        [[ -d $container ]] || continue
        [[ $found ]] || printf '%-20s %-10s\n' Name Date
        found=yes
        printf '%-20s %-10s\n' "${container##*/}" "$(date -r "$container" +%F)"
    done
    [[ $found ]] || echo 'No containers found'
}

remove_image() {
    [[ -d $images/$1 ]] || fail "no image is called $1"
    rm -rf "${images:?}/$1"
    echo "$1 succesfully removed"
}

make_root() {
    cp -a "$images/$1" "$containers/$2/rootfs"
}

remove_root() {
    rm -rf --one-file-system "${containers:?}/$1"
}

run() {
    local image=$1 name=$2 dir=$containers/$2
    shift 2
    [[ ${1:-} == -- ]] && shift
    (($#)) || set -- /bin/bash
    [[ -e $images/$image ]] || fail "no image is called $image"
    [[ -e $dir ]] && fail "there is a container called $name"
    mkdir -p "$dir"
    make_root "$image" "$name"
    # The container's root is $dir/rootfs, its command "$@". The number of its first process, as the host counts, goes to
    # $dir/pid: `exec`, `addnetwork` and `stop` find the container by it.
    # BEGIN LESSON 3.a (12 marks): make the container around its first process, which then becomes the command
    # /proc is still the host's when the shell inside asks for its number.
    # shellcheck disable=SC2016 # expanded by the shell inside
    unshare --uts --pid --net --mount --ipc --fork --kill-child bash -c '
        read -r pid rest </proc/self/stat
        mount -t proc proc "$1/rootfs/proc"
        mount -t sysfs sysfs "$1/rootfs/sys"
        mount --rbind /dev "$1/rootfs/dev"
        echo "$pid" >"$1/pid"
        cd "$1/rootfs" && shift && exec chroot . "$@"' conductor "$dir" "$@"
    # END LESSON 3.a
}

execute() {
    local name=$1 pid
    shift
    [[ ${1:-} == -- ]] && shift
    (($#)) || set -- /bin/bash
    pid=$(pid_of "$name") || exit 1
    echo "Executing $* in $name container!"
    # BEGIN LESSON 3.b (8 marks): let a new process join a container
    nsenter --target "$pid" --uts --pid --net --mount --ipc --root --wd "$@"
    # END LESSON 3.b
}

add_rule() {
    local table=$1 how=$2 chain=$3 tag=$4
    shift 4
    iptables -t "$table" "$how" "$chain" "$@" -m comment --comment ":$tag:"
}

add_network() {
    local name=$1 n=1 pid internet='' ports=''
    shift
    while (($#)); do
        case $1 in
        -i | --internet) internet=yes ;;
        -e | --expose) ports=$2 && shift ;;
        *) fail "addnetwork knows no $1" ;;
        esac
        shift
    done
    pid=$(pid_of "$name") || exit 1
    # The assignment's HOST:CONTAINER; the published lab writes INNER-OUTER.
    [[ $ports == *:* ]] && ports=${ports#*:}-${ports%:*}
    [[ -z $ports || $ports =~ ^[0-9]+-[0-9]+$ ]] || fail "ports are written HOST:CONTAINER"
    while ip -o -4 address | grep -q " 192\.168\.$n\.1/"; do n=$((n + 1)); done
    local inside=192.168.$n.2 out=$name-outside in=$name-inside
    echo "Setting up network '$name' with peer ip $inside. Waiting for interface configuration to settle..."
    # One end stays on the host, $out with 192.168.$n.1; the other goes to process $pid's network, $in with $inside.
    # BEGIN LESSON 3.c (10 marks): connect a container and its host with a veth pair
    ip link add "$out" type veth peer name "$in" netns "$pid" || fail "cannot create a veth pair for $name"
    ip address add "192.168.$n.1/24" dev "$out"
    ip link set "$out" up
    inside "$pid" ip link set lo up
    inside "$pid" ip address add "$inside/24" dev "$in"
    inside "$pid" ip link set "$in" up
    inside "$pid" ip route add 192.168.0.0/16 via "192.168.$n.1"
    # END LESSON 3.c
    # Nothing passes that no rule before these allows.
    add_rule filter -A FORWARD "$name" -i "$out" -j DROP
    add_rule filter -A FORWARD "$name" -o "$out" -j DROP
    [[ $internet ]] && connect "$name" "$pid" "$n"
    [[ $ports ]] && publish "$name" "$inside" "${ports%-*}" "${ports#*-}"
    return 0
}

# Runs a command in the network of a process.
inside() {
    local pid=$1
    shift
    nsenter --target "$pid" --net "$@"
}

# The internet for one container: a way out, the host's address in place of its own, and the answers back.
connect() {
    local name=$1 pid=$2 n=$3
    echo 1 >/proc/sys/net/ipv4/ip_forward
    inside "$pid" ip route add default via "192.168.$n.1"
    add_rule nat -A POSTROUTING "$name" -s "192.168.$n.2" -o "$DEFAULT_IFC" -j MASQUERADE
    add_rule filter -I FORWARD "$name" -i "$name-outside" -o "$DEFAULT_IFC" -j ACCEPT
    add_rule filter -I FORWARD "$name" -i "$DEFAULT_IFC" -o "$name-outside" -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
}

# A port of the host for one of the container's: for who comes from outside, and for the host itself.
publish() {
    local name=$1 address=$2 inner=$3 outer=$4 own
    own=$(ip -o -4 address show dev "$DEFAULT_IFC" | awk '{ sub("/.*", "", $4); print $4; exit }')
    echo 1 >/proc/sys/net/ipv4/ip_forward
    add_rule nat -A PREROUTING "$name" -i "$DEFAULT_IFC" -p tcp --dport "$outer" -j DNAT --to-destination "$address:$inner"
    add_rule nat -A OUTPUT "$name" -d "$own" -p tcp --dport "$outer" -j DNAT --to-destination "$address:$inner"
    add_rule filter -I FORWARD "$name" -i "$DEFAULT_IFC" -o "$name-outside" -p tcp --dport "$inner" -j ACCEPT
}

peer() {
    pid_of "$1" >/dev/null && pid_of "$2" >/dev/null || exit 1
    echo 1 >/proc/sys/net/ipv4/ip_forward
    add_rule filter -I FORWARD "$1:$2" -i "$1-outside" -o "$2-outside" -j ACCEPT
    add_rule filter -I FORWARD "$1:$2" -i "$2-outside" -o "$1-outside" -j ACCEPT
}

remove_rules() {
    local table
    for table in nat filter; do
        iptables-save -t "$table" | grep -F -- ":$1:" | grep '^-A' | sed 's/^-A/-D/' | xargs -r -L 1 iptables -t "$table"
    done
}

stop() {
    local name=$1 pid
    [[ -d $containers/$name ]] || fail "no container is called $name"
    pid=$(cat "$containers/$name/pid" 2>/dev/null || echo none) # none: its command never started
    # Process 1 of a PID namespace takes all others along.
    kill -9 "$pid" 2>/dev/null
    while [[ -d /proc/$pid ]]; do sleep 0.01; done
    ip link delete "$name-outside" 2>/dev/null
    remove_rules "$name"
    remove_root "$name"
    echo "$name succesfully removed"
}

usage() {
    cat <<-'TEXT'
	conductor.sh build IMAGE
	conductor.sh images
	conductor.sh rmi IMAGE
	conductor.sh run IMAGE CONTAINER [--] [COMMAND ARGUMENTS …]
	conductor.sh ps
	conductor.sh exec CONTAINER [--] [COMMAND ARGUMENTS …]
	conductor.sh addnetwork CONTAINER [-i | --internet] [-e | --expose HOST:CONTAINER]
	conductor.sh peer CONTAINER CONTAINER
	conductor.sh stop CONTAINER
	TEXT
}

echo 'CS695 Conductor that manages containers'
[[ $EUID == 0 ]] || fail 'this takes root: use sudo'
command=${1:-help}
shift
case $command in
build) build "$@" ;;
images) list_images ;;
rmi) remove_image "$@" ;;
run) run "$@" ;;
exec) execute "$@" ;;
ps) list_containers ;;
stop) stop "$@" ;;
addnetwork) add_network "$@" ;;
peer) peer "$@" ;;
-h | --help | help) usage ;;
*) usage >&2 && exit 2 ;;
esac
