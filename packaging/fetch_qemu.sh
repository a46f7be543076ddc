#!/bin/sh
# Have QEMU's arm64 machine for the tests in tests/vm: the system's, or one unpacked into the cache folder.
set -eu

if command -v qemu-system-aarch64 >/dev/null; then exit 0; fi
[ ! -x "${C5_CACHE:-$(dirname "$0")/../.cache}/qemu/usr/bin/qemu-system-aarch64" ] || exit 0
exec "$(dirname "$0")/unpack.sh" qemu qemu-system-arm
