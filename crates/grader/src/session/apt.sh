#!/bin/bash
# Stands for apt(8) and apt-get(8) in the grader's box and in the images that are made there, where nothing can be fetched:
# a package whose programs are there is installed already, any other is not to be had.
words=()
for word; do
    [[ $word == -* ]] || words+=("$word")
done
command=${words[0]:-}

# has PACKAGE: whether what a service would want of it is there.
has() {
    case $1 in
    build-essential) type -P gcc >/dev/null && type -P make >/dev/null ;;
    gcc | g++ | make | curl | wget | iptables | debootstrap | bash | python3 | perl | socat) type -P "$1" >/dev/null ;;
    python3-flask) python3 -c 'import flask' 2>/dev/null ;;
    python3-requests) python3 -c 'import requests' 2>/dev/null ;;
    python3-pip | python3-venv | python-is-python3) type -P python3 >/dev/null ;;
    iproute2) type -P ip >/dev/null ;;
    iputils-ping | inetutils-ping) type -P ping >/dev/null ;;
    procps) type -P ps >/dev/null ;;
    netcat | netcat-*) type -P nc >/dev/null ;;
    util-linux) type -P unshare >/dev/null ;;
    coreutils | ca-certificates | net-tools | sudo | apt-utils | locales | libc6-dev | tzdata | nano | vim) return 0 ;;
    *) type -P "$1" >/dev/null ;;
    esac
}

case $command in
update | upgrade | dist-upgrade | full-upgrade | clean | autoclean | autoremove)
    echo 'Reading package lists... Done'
    ;;
install | reinstall)
    echo 'Reading package lists... Done'
    for package in "${words[@]:1}"; do
        package=${package%%[=:/]*}
        if ! has "$package"; then
            echo "E: Unable to locate package $package" >&2
            exit 100
        fi
        echo "$package is already the newest version."
    done
    echo '0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.'
    ;;
remove | purge | list | show | search | policy) ;;
*)
    echo "E: Invalid operation $command" >&2
    exit 100
    ;;
esac
