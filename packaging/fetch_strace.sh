#!/bin/sh
# Have strace for the tests that cut the store's power: the system's, or one in the cache folder (tests/power/lab.py).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
command -v strace >/dev/null && exit 0
[ -x "${C5_CACHE:-$here/../.cache}/strace/usr/bin/strace" ] && exit 0
exec "$here/unpack.sh" strace strace
