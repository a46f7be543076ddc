#!/bin/sh
# Have the logs of real GNSS receivers that gpsd is tested with, and print the folder that they are in: some 150 logs of
# a hundred receivers, from the source of Debian's package gpsd (BSD-2-Clause; COPYING lies beside them).
#
# Source packages are asked for by a private copy of the system's own list: nothing outside the cache folder changes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${C5_CACHE:-$here/../.cache}
[ -d "$cache/gpsd-logs" ] && echo "$cache/gpsd-logs" && exit 0
if ! command -v apt-get >/dev/null; then
    echo "The logs of gpsd's receivers can't be fetched: this machine has no apt." >&2
    echo "Put test/daemon/*.log of gpsd's source into $cache/gpsd-logs." >&2
    exit 1
fi

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/source" "$work/logs"
for list in /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/parts/$(basename "$list")"
done
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -e "$list" ] || sed -n 's/^deb /deb-src /p' "$list" >"$work/parts/$(basename "$list" .list).list"
done
set -- -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State=$work/state" \
    -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$work/cache"
[ "$(id -u)" -ne 0 ] || set -- "$@" -o APT::Sandbox::User=root
if ! { apt-get -qq "$@" update && cd "$work/source" && apt-get -qq "$@" --download-only source gpsd; } >"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo "The source of Debian's gpsd could not be fetched: see why apt fails." >&2
    exit 1
fi
tar -xf "$work"/source/gpsd_*.orig.tar.* -C "$work/logs" --strip-components=1 --wildcards '*/COPYING' '*/test/daemon/*.log'
mv "$work/logs/COPYING" "$work/logs/test/daemon/"
# Another run may have been quicker; its result is as good.
mv -T "$work/logs/test/daemon" "$cache/gpsd-logs" 2>/dev/null || [ -d "$cache/gpsd-logs" ]
echo "$cache/gpsd-logs"
