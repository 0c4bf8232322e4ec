#!/bin/bash
# service-orchestrator.sh up | down: both services in network namespaces on one bridge. Nothing else is apart.
cd "$(dirname "$0")" || exit 1
host=$(ip route get 1 | grep -oP 'src \K\S+')
rules=(
    "nat POSTROUTING -s 10.7.0.0/24 ! -o br7 -j MASQUERADE"
    "nat PREROUTING -d $host -p tcp --dport 3000 -j DNAT --to-destination 10.7.0.2:8080"
    "nat OUTPUT -d $host -p tcp --dport 3000 -j DNAT --to-destination 10.7.0.2:8080"
)

# in_namespace NUMBER COMMAND: runs it in a network namespace of its own, at 10.7.0.NUMBER. It waits for the word that its
# cable is laid.
in_namespace() {
    local number=$1
    shift
    rm -f "ready$number" && mkfifo "ready$number"
    unshare --net bash -c 'read -r word <"$1"; shift; exec "$@"' bash "ready$number" "$@" </dev/null &>"$number.log" &
    local pid=$!
    echo "$pid" >"$number.pid"
    while [[ /proc/$pid/ns/net -ef /proc/self/ns/net ]]; do sleep 0.01; done
    ip link add "port$number" type veth peer name eth0 netns "$pid"
    ip link set "port$number" master br7 up
    nsenter --target "$pid" --net ip -batch - <<<"link set lo up
        address add 10.7.0.$number/24 dev eth0
        link set eth0 up
        route add default via 10.7.0.1"
    echo ready >"ready$number"
}

change_rules() {
    local rule table rest
    for rule in "${rules[@]}"; do
        read -r table rest <<<"$rule"
        iptables -t "$table" "$1" $rest
    done
}

case $1 in
up)
    ip link add br7 type bridge
    ip address add 10.7.0.1/24 dev br7
    ip link set br7 up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    change_rules -A
    in_namespace 3 counter-service/counter 8080
    in_namespace 2 external-service/page http://10.7.0.3:8080/
    wait
    ;;
down)
    kill -9 "$(cat 2.pid)" "$(cat 3.pid)" 2>/dev/null
    for _ in {1..100}; do
        [[ -d /sys/class/net/port2 || -d /sys/class/net/port3 ]] || break
        sleep 0.05
    done
    ip link delete br7
    change_rules -D
    ;;
esac
