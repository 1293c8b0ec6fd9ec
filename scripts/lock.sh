#!/bin/sh
# Writes the lock files anew from pyproject.toml: pinned, hashed, one set for Python 3.11-3.14 on Linux and macOS.
# Usage: scripts/lock.sh [further arguments of `uv pip compile`, such as --upgrade]
# Needs uv (`pip install uv`). The files name no index, so that they install through whichever one pip is set up with.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-uv}

compile() {
    out=$1
    shift
    "$UV" pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command scripts/lock.sh \
        --output-file "$out" "$@"
}

compile requirements/dev.lock --extra server --group dev "$@"
# The smaller sets agree with the development set, version by version.
compile requirements/demo.lock --extra server --group demo --constraint requirements/dev.lock
compile requirements/server.lock --extra server --constraint requirements/dev.lock
