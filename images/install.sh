#!/bin/sh
# install.sh IMAGE
# Installs the contents of an image's directory, which is at /mnt; %post runs it. All of these are optional:
#   debian.txt        Debian packages
#   requirements.txt  Python packages, for /opt/jupyter
#   settings/         files below /opt/jupyter
#   environment.sh    shell lines for the environment of every process in the container, after the parent's
#   finish.sh         further commands, run with sh -eu
#   labels.sh         prints labels, a name and a value per line
#   test/KERNEL.*     code that this kernel must be able to run (run_tests.py)
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
        echo "The base has no apt-get: it must be Debian or a derivative." >&2
        exit 1
    }
    packages=$(sed 's/#.*//' /mnt/debian.txt)
    set -- -q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Acquire::Languages=none
    set -- "$@" -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--path-exclude=/usr/share/doc/*
    set -- "$@" -o Dpkg::Options::=--path-include=/usr/share/doc/*/copyright
    if [ -e /mnt/certificates.crt ]; then set -- "$@" -o Acquire::https::CaInfo=/mnt/certificates.crt; fi
    export DEBIAN_FRONTEND=noninteractive
    # Directories that debian.py or the base lacks, and that some packages need.
    mkdir -p /var/log/apt /var/cache/apt/archives/partial /usr/share/man/man1
    apt-get "$@" update
    # shellcheck disable=SC2086 # one word per package
    apt-get "$@" install --no-install-recommends $packages
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/* /var/lib/dpkg/*-old
fi

if [ -e /mnt/requirements.txt ]; then
    if [ ! -e $prefix ]; then
        python3 -m venv $prefix
        # Packages of `pip install --user` are found after those of the image: they can add to it but not break it.
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

# Bytecode that isn't compared with its source, as a read-only image can't update it. The parent's exists already.
if [ -e $prefix ]; then
    find $prefix/lib -name '*.py' -cnewer "$began" |
        $prefix/bin/python -W ignore -m compileall -q -j 0 --invalidation-mode unchecked-hash -i -
fi
rm "$began"
