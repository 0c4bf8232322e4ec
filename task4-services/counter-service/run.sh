#!/bin/sh
# Starts the counter service in its container: bash /counter-service/run.sh [PORT [THREADS]]
exec "$(dirname "$0")/counter-service" "${1:-8080}" "${2:-4}"
