# R and lubridate need the name of the node's time zone, but Apptainer shows only its file. They would compare it with all time
# zones, for two seconds, and then print a warning. The name is in the path of the mounted file.
if [ -z "${TZ-}" ]; then
    zone=$(sed -n 's|.* /[^ ]*zoneinfo/\([^ ]*\) /etc/localtime .*|\1|p' /proc/self/mountinfo)
    if [ -n "$zone" ] && [ -e "/usr/share/zoneinfo/$zone" ]; then export TZ="$zone"; fi
    unset zone
fi
