#!/usr/bin/env bash
# Makes the virtual environment that holds the program: packaging/setup.sh [FOLDER], .venv unless said otherwise.
# Every package is compared with its hash in requirements.lock. PYTHON names the Python to use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${1:-.venv}

say() { printf '%s\n' "$*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$name" >/dev/null && new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    say "c5-gateway needs Python 3.11 or newer; ${PYTHON:-python3} is not. Give one: make PYTHON=/path/to/python3.12"
    return 1
}

# Debian's Python comes without the part that makes virtual environments.
add_venv() {
    local package sudo=()
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ]; then sudo=(sudo -n); fi
    if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; then
        say "Installing Debian's $package ..."
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
            "apt-get -qq update && apt-get -qq install -y --no-install-recommends $package" >/dev/null </dev/null && return
    fi
    say "$1 can't make a virtual environment. Type this, then the same make again:"
    say "    sudo apt-get update && sudo apt-get install $package"
    return 1
}

python=$(find_python)
# A folder left by an interrupted run, or by a Python that is gone, is made anew.
if ! new_enough "$venv/bin/python" || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || add_venv "$python"
    "$python" -m venv --clear "$venv"
fi

say "Setting up $venv ..."
pip=("$venv/bin/python" -m pip -qq --disable-pip-version-check --no-input)
"${pip[@]}" install --require-hashes -r requirements.lock
"${pip[@]}" install --no-deps --no-build-isolation -e .
"$venv/bin/python" -m compileall -q gateway firmware_sim certs # the first start is as quick as the next
