#!/bin/bash
# Starts the external service in its container: bash /external-service/run.sh URL-OF-THE-COUNTER
cd "$(dirname "$0")" || exit 1
apt-get update
apt-get install -y python3 python3-flask python3-requests
exec python3 app.py "$1"
