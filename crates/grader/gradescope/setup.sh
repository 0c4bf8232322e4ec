#!/usr/bin/env bash
# Gradescope runs this once, as root, when the image of the autograder is made. The zip holds run_autograder, setup.sh, vm/provision and `grade`.
set -euo pipefail
cd /autograder/source
bash provision
install -m 755 grade /usr/local/bin/grade
