#!/bin/sh
# install.sh IMAGE
# Installs what an image's directory, at /mnt, names; run by %post. Of these it may have any:
#   debian.txt        packages of Debian
#   requirements.txt  packages of Python, for /opt/jupyter
#   settings/         files below /opt/jupyter
#   environment.sh    lines that every process in the container begins with, after the parent's
#   finish.sh         what is left to do, with sh -eu
#   labels.sh         prints labels, a name and a value a line
#   test/KERNEL.*     code that the kernel of that name must be able to run (run_tests.py)
set -eu
umask 022
image=$1
prefix=/opt/jupyter
# shellcheck disable=SC1091 # made by stage.py
. /mnt/host.env # before -x: may hold a password
began=$(mktemp)
set -x

if [ -e /mnt/debian.txt ]; then
    command -v apt-get >/dev/null || {
        echo "The base has no apt-get: it must be Debian's, or of a kin of Debian." >&2
        exit 1
    }
    packages=$(sed 's/#.*//' /mnt/debian.txt)
    set -- -q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Acquire::Languages=none
    set -- "$@" -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--path-exclude=/usr/share/doc/*
    set -- "$@" -o Dpkg::Options::=--path-include=/usr/share/doc/*/copyright
    if [ -e /mnt/certificates.crt ]; then set -- "$@" -o Acquire::https::CaInfo=/mnt/certificates.crt; fi
    export DEBIAN_FRONTEND=noninteractive
    # Directories that debian.py or the base's maker took out, and that some packages want.
    mkdir -p /var/log/apt /var/cache/apt/archives/partial /usr/share/man/man1
    apt-get "$@" update
    # shellcheck disable=SC2086 # one word a package
    apt-get "$@" install --no-install-recommends $packages
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/* /var/lib/dpkg/*-old
fi

if [ -e /mnt/requirements.txt ]; then
    if [ ! -e $prefix ]; then
        python3 -m venv $prefix
        # What a user installs with `pip install --user` is found as well, after what is here: it can add, not break.
        sed -i 's/^include-system-site-packages.*/include-system-site-packages = true/' $prefix/pyvenv.cfg
    fi
    $prefix/bin/pip install -q --no-cache-dir --no-compile -r /mnt/requirements.txt
fi

if [ -e /mnt/settings ]; then cp -r /mnt/settings/. $prefix/; fi
if [ -e /mnt/environment.sh ]; then cat /mnt/environment.sh >>"$APPTAINER_ENVIRONMENT"; fi
if [ -e /mnt/finish.sh ]; then sh -eux /mnt/finish.sh; fi
if [ -e /mnt/labels.sh ]; then sh -eu /mnt/labels.sh >>"$APPTAINER_LABELS"; fi
if [ -e /mnt/test ]; then
    mkdir -p "$prefix/share/flatirons/test/$image"
    cp /mnt/test/* "$prefix/share/flatirons/test/$image/"
fi

# Bytecode that never asks for its source's time: a read-only image can't mend what seems stale. The parent's is there.
if [ -e $prefix ]; then
    find $prefix/lib -name '*.py' -cnewer "$began" |
        $prefix/bin/python -W ignore -m compileall -q -j 0 --invalidation-mode unchecked-hash -i -
fi
rm "$began"
