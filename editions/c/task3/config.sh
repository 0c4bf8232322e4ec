# shellcheck shell=bash disable=SC2034 # conductor.sh reads this file
# The host's interface to the internet: `ip route` shows its name behind "default … dev".
DEFAULT_IFC="enp1s0"
MIRROR="http://deb.debian.org/debian"
