# Settings of conductor.sh. Each is passed on to the program as a variable of the same name with CONDUCTOR_ before it.

# The only interface by which containers may reach the internet, such as enp1s0 (see `ip route`). Empty: whichever the host's routes
# name at that moment, so that a VPN or another network is used as soon as the host uses it.
DEFAULT_IFC=""

# Addresses for containers: each gets a /24 of this, counting up from the second.
SUBNET_POOL="192.168.0.0/16"

# What `build` without a Conductorfile begins with, and where its packages come from. Empty: as the host is set up.
IMAGE_FROM="debian:bookworm"
MIRROR=""
