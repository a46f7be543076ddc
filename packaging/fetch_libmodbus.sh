#!/bin/sh
# Have libmodbus for the tests: the system's headers, or Debian's packages in the cache folder. The slave that they build
# (tests/support/modbus_slave.c) shows that the gateway speaks Modbus as others do, not as pymodbus alone understands it.
#
# Done once; run again, it sees its own work and says nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${C5_CACHE:-$here/../.cache}/libmodbus
[ -e /usr/include/modbus/modbus.h ] && exit 0
[ -e "$cache/usr/include/modbus/modbus.h" ] && exit 0
exec "$here/unpack.sh" libmodbus libmodbus-dev libmodbus5
