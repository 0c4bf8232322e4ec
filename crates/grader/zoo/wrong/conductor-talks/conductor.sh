#!/bin/bash
# Says what a conductor says, and does nothing.
echo 'CS695 Conductor that manages containers'
case $1 in
images) [[ -e built ]] && printf '%-20s %-10s %s\n' Name Size Date small 33M "$(date +%F)" || echo 'No images found' ;;
ps) [[ -e runs ]] && printf '%-20s %-10s\n' Name Date eg "$(date +%F)" egg "$(date +%F)" || echo 'No containers found' ;;
build) touch built ;;
run) touch runs ;;
exec) echo "Executing ${*:4} in $2 container!" ;;
addnetwork) echo "Setting up network '$2' with peer ip 192.168.1.2. Waiting for interface configuration to settle..." ;;
stop | rmi) echo "$2 succesfully removed" ;;
esac
