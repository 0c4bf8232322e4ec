#!/bin/bash
# service-orchestrator.sh up | down: the page in c1, the counter in c2, by the assignment's lines.
cd "$(dirname "$0")" || exit 1

is_there() { ./conductor.sh "$1" | cut -d ' ' -f 1 | grep -qx "$2"; }
runs() { ./conductor.sh exec "$1" -- true &>/dev/null; }

until_so() {
    for _ in {1..200}; do
        "$@" && return
        sleep 0.05
    done
    echo "service-orchestrator: waited in vain: $*" >&2
    exit 1
}

up() {
    is_there images service-image || ./conductor.sh build service-image || exit 1

    ./conductor.sh run service-image c1 -- sleep infinity </dev/null &>/dev/null &
    ./conductor.sh run service-image c2 -- sleep infinity </dev/null &>/dev/null &
    until_so runs c1
    until_so runs c2

    cp -r external-service .containers/c1/rootfs/
    cp -r counter-service .containers/c2/rootfs/

    ./conductor.sh addnetwork c1 --internet --expose 8080-3000
    ./conductor.sh addnetwork c2 --internet
    ./conductor.sh peer c1 c2

    counter=$(./conductor.sh exec c2 -- ip route get 1 | grep -oP 'src \K\S+')
    page=$(./conductor.sh exec c1 -- ip route get 1 | grep -oP 'src \K\S+')
    ./conductor.sh exec c2 -- bash /counter-service/run.sh </dev/null &>counter.log &
    until_so curl -sf "http://$counter:8080/get_counter" -o counter.first
    ./conductor.sh exec c1 -- bash /external-service/run.sh "http://$counter:8080/" </dev/null &>page.log &
    until_so curl -s "http://$page:8080/health" -o page.first
}

down() {
    for name in c1 c2; do
        if is_there ps "$name"; then ./conductor.sh stop "$name"; fi
    done
}

case ${1:-up} in
up) up ;;
down) down ;;
*) echo "usage: $0 up|down" >&2 && exit 2 ;;
esac
