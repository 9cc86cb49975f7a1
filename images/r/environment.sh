# R, and lubridate with it, ask for the name of the node's time zone, and of that Apptainer shows only the file: they would
# compare it with all there are, for two seconds, and then warn. The name is in the path of what is mounted.
if [ -z "${TZ-}" ]; then
    zone=$(sed -n 's|.* /[^ ]*zoneinfo/\([^ ]*\) /etc/localtime .*|\1|p' /proc/self/mountinfo)
    if [ -n "$zone" ] && [ -e "/usr/share/zoneinfo/$zone" ]; then export TZ="$zone"; fi
    unset zone
fi
