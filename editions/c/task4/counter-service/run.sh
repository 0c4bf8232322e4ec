#!/bin/bash
# Starts the counter service in its container: bash /counter-service/run.sh
cd "$(dirname "$0")" || exit 1
apt-get update
apt-get install -y build-essential
make
exec ./counter-service 8080 1
