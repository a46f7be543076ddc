#!/bin/sh
# unpack.sh NAME PACKAGE…: unpack Debian's packages, with what they need and this machine lacks, into the cache folder.
#
# Downloaded and unpacked, never installed: nothing outside the cache folder changes, no daemon is started, and no
# rights are needed. The folder is $C5_CACHE/NAME, or .cache/NAME beside this checkout.
set -eu

name=$1
shift
cache=${C5_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/.cache}

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "$name is not installed, and this machine has no apt to fetch it with." >&2
    echo "Install $* with this system's package manager." >&2
    exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
apt_home=$work/apt
wanted=$*

# Which packages apt would have to add to this machine, and those alone; then the packages themselves.
fetch() {
    # shellcheck disable=SC2086  # one word for each package
    names=$(LC_ALL=C apt-get "$@" -s --no-install-recommends install $wanted 2>>"$work/log" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    [ -n "$names" ] || return 1
    # shellcheck disable=SC2086
    (cd "$work" && apt-get -qq "$@" download $names >>"$work/log" 2>&1)
}

# The system's own lists may be missing (a new machine) or stale; a private copy can be made without being root.
private() {
    mkdir -p "$apt_home/state/lists/partial" "$apt_home/cache/archives/partial"
    set -- -o "Dir::State=$apt_home/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt_home/cache"
    [ "$(id -u)" -ne 0 ] || set -- "$@" -o APT::Sandbox::User=root
    apt-get -qq "$@" update >>"$work/log" 2>&1 && fetch "$@"
}

if ! fetch -o APT::Sandbox::User="$(id -un)" && ! private; then
    cat "$work/log" >&2
    echo "$name could not be fetched. Install it (apt-get install $wanted), or see why apt fails." >&2
    exit 1
fi

mkdir "$work/root"
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done
# Another run may have been quicker; its result is as good.
mv -T "$work/root" "$cache/$name" 2>/dev/null || [ -d "$cache/$name" ]
