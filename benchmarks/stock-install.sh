#!/bin/sh
# Installs the stock image of `scripts/bench coldstart`, in place of images/install.sh: packages of the same versions on the
# same Debian, just as pip installs them.
set -eu
# shellcheck disable=SC1091 # made by images/stage.py
. /mnt/host.env
python3 -m venv /opt/jupyter
/opt/jupyter/bin/pip install -q --no-cache-dir -r /mnt/requirements.txt
# shellcheck disable=SC2016 # for the container's shell
echo 'export PATH="/opt/jupyter/bin:$PATH"' >>"$APPTAINER_ENVIRONMENT"
