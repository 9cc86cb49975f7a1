#!/bin/sh
# The stock image of `scripts/bench coldstart`, in the place of images/install.sh: the same packages of the same versions on
# the same Debian, as pip installs them by itself, and nothing else.
set -eu
# shellcheck disable=SC1091 # made by images/stage.py
. /mnt/host.env
python3 -m venv /opt/jupyter
/opt/jupyter/bin/pip install -q --no-cache-dir -r /mnt/requirements.txt
# shellcheck disable=SC2016 # for the container's shell
echo 'export PATH="/opt/jupyter/bin:$PATH"' >>"$APPTAINER_ENVIRONMENT"
