# What debian.py leaves out of a tree, for a base from elsewhere.
rm -f /etc/munge/munge.key /etc/hostname
: >/etc/machine-id
