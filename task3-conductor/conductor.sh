#!/bin/sh
# The conductor with its state beside this file: .images, .containers and .cache. Settings stand in config.sh.

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd) || exit 125
. "$here/config.sh" || exit 125

program=${CONDUCTOR_BINARY:-$here/../target/release/conductor}
if [ ! -x "$program" ]; then
    echo "conductor.sh: there is no program at $program yet: run \`make build\` first" >&2
    exit 125
fi

export CONDUCTOR_DEFAULT_IFC="$DEFAULT_IFC" CONDUCTOR_SUBNET_POOL="$SUBNET_POOL"
export CONDUCTOR_IMAGE_FROM="$IMAGE_FROM" CONDUCTOR_MIRROR="$MIRROR"
exec "$program" --root "$here" "$@"
