# Removes from another base what debian.py removes from a tree.
rm -f /etc/munge/munge.key /etc/hostname
: >/etc/machine-id
