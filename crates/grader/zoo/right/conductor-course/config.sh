# Name of the network interface that leads to the internet: see `ip a`.
DEFAULT_IFC="enp0s3"
# The first two numbers of all addresses that containers get.
IP4_SUBNET="10.0"
# Settings of the tool itself.
IMAGEDIR="$SCRIPTDIR/.images"
CONTAINERDIR="$SCRIPTDIR/.containers"
