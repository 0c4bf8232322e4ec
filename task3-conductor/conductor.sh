#!/bin/sh
# The conductor with its state beside this file: .images, .containers and .cache. Settings stand in config.sh.

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd) || exit 125
case $(cat -- "$here/config.sh") in
    *"$(printf '\r')"*)
        echo "conductor.sh: $here/config.sh has the line ends of Windows (CR LF), which a shell takes for part of each value: \`sed -i 's/\r\$//' '$here/config.sh'\` takes them out" >&2
        exit 125
        ;;
esac
. "$here/config.sh" || exit 125

program=${CONDUCTOR_BINARY:-$here/../target/release/conductor}
if [ ! -x "$program" ]; then
    echo "conductor.sh: there is no program at $program yet: run \`make build\` first" >&2
    exit 125
fi

export CONDUCTOR_DEFAULT_IFC="$DEFAULT_IFC" CONDUCTOR_SUBNET_POOL="$SUBNET_POOL"
export CONDUCTOR_IMAGE_FROM="$IMAGE_FROM" CONDUCTOR_MIRROR="$MIRROR"
exec "$program" --root "$here" "$@"
