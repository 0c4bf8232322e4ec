# The host's interface to the internet.
DEFAULT_IFC="enp1s0"
MIRROR="http://deb.debian.org/debian"
