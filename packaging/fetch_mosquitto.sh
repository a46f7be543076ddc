#!/bin/sh
# Have mosquitto for the tests and the demo: the system's, or one in the cache folder (firmware_sim/broker.py looks there).
#
# Done once; run again, it sees its own work and says nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
for place in $(echo "$PATH" | tr ':' ' ') /usr/sbin /usr/local/sbin "${C5_CACHE:-$here/../.cache}/mosquitto/usr/sbin"; do
    [ -x "$place/mosquitto" ] && exit 0
done
exec "$here/unpack.sh" mosquitto mosquitto mosquitto-clients
