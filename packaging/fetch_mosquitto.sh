#!/bin/sh
# Fetch mosquitto into the cache folder, for the tests and the demo, on a machine that doesn't have it.
#
# Debian's packages are downloaded and unpacked, never installed: nothing outside the cache folder changes, no daemon
# is started, and no rights are needed. Done once; run again, it sees its own work and says nothing.
#
# The folder is $C5_CACHE/mosquitto, or .cache/mosquitto beside this checkout. firmware_sim/broker.py looks there.
set -eu

cache=${C5_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/.cache}
target=$cache/mosquitto

for place in $(echo "$PATH" | tr ':' ' ') /usr/sbin /usr/local/sbin; do
    [ -x "$place/mosquitto" ] && exit 0
done
[ -x "$target/usr/sbin/mosquitto" ] && exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "mosquitto is not installed, and this machine has no apt to fetch it with." >&2
    echo "Install mosquitto 2.0 or newer with this system's package manager." >&2
    exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Which packages apt would have to add to this machine, and those alone; then the packages themselves.
fetch() {
    names=$(LC_ALL=C apt-get "$@" -s --no-install-recommends install mosquitto mosquitto-clients 2>>"$work/log" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    [ -n "$names" ] || return 1
    # shellcheck disable=SC2086  # one word for each package
    (cd "$work" && apt-get -qq "$@" download $names >>"$work/log" 2>&1)
}

apt_home=$work/apt

# The system's own lists may be missing (a new machine) or stale; a private copy can be made without being root.
private() {
    mkdir -p "$apt_home/state/lists/partial" "$apt_home/cache/archives/partial"
    set -- -o "Dir::State=$apt_home/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt_home/cache"
    [ "$(id -u)" -ne 0 ] || set -- "$@" -o APT::Sandbox::User=root
    apt-get -qq "$@" update >>"$work/log" 2>&1 && fetch "$@"
}

if ! fetch -o APT::Sandbox::User="$(id -un)" && ! private; then
    cat "$work/log" >&2
    echo "mosquitto could not be fetched. Install it (apt-get install mosquitto), or see why apt fails." >&2
    exit 1
fi

mkdir "$work/root"
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done
# Another run may have been quicker; its result is as good.
mv -T "$work/root" "$target" 2>/dev/null || [ -x "$target/usr/sbin/mosquitto" ]
