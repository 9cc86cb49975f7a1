#!/bin/sh
# enter.sh TREE WORK TMP COMMAND...
# Runs a command, with this environment, in a Debian file tree as its root. WORK is mounted at /mnt (TMP is in there); the rest of
# the tree is read-only. The command is root of a user namespace, because root of a restricted machine may lack capabilities that
# Apptainer needs. Start this in a new mount and pid namespace, as progress.py does, so that nothing outlives it.
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
# The ids in the namespace are the same as outside; unshare reads in these files that root may use them.
echo root:0:65536 >"$tree/run/subordinate-ids"
mount --bind "$tree/run/subordinate-ids" "$tree/etc/subuid"
mount --bind "$tree/run/subordinate-ids" "$tree/etc/subgid"

# Not chroot, because a user namespace can't be created in one.
cd "$tree"
pivot_root . .
umount -l .
cd /
exec env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/tmp \
    APPTAINER_TMPDIR="$tmp" APPTAINER_CACHEDIR="$tmp" \
    unshare --user --map-users=0:0:65536 --map-groups=0:0:65536 --mount -- "$@"
