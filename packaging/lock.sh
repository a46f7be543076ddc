#!/usr/bin/env bash
# Makes requirements.lock and packaging/service.lock from pyproject.toml: packaging/lock.sh PYTHON [--upgrade]
# requirements.lock is everything, for this repository's .venv; service.lock is the part of it that an installed
# gateway or receiver runs on. Exact versions, a hash of every file, every platform, no address of any index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1
shift
tools=.cache/lock

[ -x "$tools/bin/uv" ] || {
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip --quiet --disable-pip-version-check install uv
}
compile() {
    "$tools/bin/uv" --quiet pip compile --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@" >/dev/null
}
compile "$@" --all-extras pyproject.toml -o requirements.lock
compile "$@" --extra gateway --extra provision --extra centre -c requirements.lock pyproject.toml -o packaging/service.lock
