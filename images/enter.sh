#!/bin/sh
# enter.sh TREE WORK TMP COMMAND...
# Runs a command, with our environment, in a Debian file tree as if it were the machine, WORK at /mnt (TMP is in there), nothing else of
# the tree writable; as root of a user namespace, as a restricted machine's root may lack capabilities that
# Apptainer asks for. Start it in a new mount and pid namespace (progress.py does): nothing outlives it.
set -eu
tree=$1
work=$2
tmp=$3
shift 3

mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
for place in run tmp var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs "$tree/$place"
done
mount --bind "$work" "$tree/mnt"
for file in resolv.conf hosts; do
    if [ -e "/etc/$file" ]; then mount --bind "/etc/$file" "$tree/etc/$file"; fi
done
# The namespace's ids are the same as outside; unshare asks these files whether root may have them.
echo root:0:65536 >"$tree/run/subordinate-ids"
mount --bind "$tree/run/subordinate-ids" "$tree/etc/subuid"
mount --bind "$tree/run/subordinate-ids" "$tree/etc/subgid"

# Not chroot: no user namespace can be made inside one.
cd "$tree"
pivot_root . .
umount -l .
cd /
exec env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/tmp \
    APPTAINER_TMPDIR="$tmp" APPTAINER_CACHEDIR="$tmp" \
    unshare --user --map-users=0:0:65536 --map-groups=0:0:65536 --mount -- "$@"
