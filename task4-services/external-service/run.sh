#!/bin/sh
# Starts the external service in its container: bash /external-service/run.sh COUNTER_URL
exec "$(dirname "$0")/external-service" "$@"
