#!/bin/bash
# Installs both packages from a clean clone into empty environments, as the READMEs describe, and
# runs the programs of the READMEs there. The last line is "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
unset VIRTUAL_ENV PYTHONPATH NODE_PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
# The crates of the clone are built again, because their paths differ. How fast the packages are does
# not matter here, and the whole-program optimisation of a release takes minutes for each.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1
passed=0 failed=0
step() {
    if "$@" >"$folder/log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "failed: $*"
        cat "$folder/log"
        failed=$((failed + 1))
    fi
}
prints() { [ "$("${@:2}")" = "$1" ]; }
quickstart=$'revision 2: hello\nrevision 3: goodbye'

step git clone --quiet . "$folder/clone"
cd "$folder/clone" || exit 1
step "${PYTHON:-python3}" -m venv "$folder/venv"
step "$folder/venv/bin/pip" install --disable-pip-version-check ./bindings/python
step prints "$quickstart" "$folder/venv/bin/python" bindings/python/examples/quickstart.py
step "$folder/venv/bin/python" bindings/python/examples/aio.py
visitors=$'1 visitor in this process\n2 visitors over the network'
step prints "$visitors" "$folder/venv/bin/python" bindings/python/examples/cluster.py
step npm install --prefix bindings/node --no-audit --no-fund --loglevel=error
# a user's program in another folder
step mkdir -p "$folder/user/node_modules"
step ln -s "$folder/clone/bindings/node" "$folder/user/node_modules/libkv"
step cp bindings/node/examples/quickstart.js "$folder/user/quickstart.js"
step prints "$quickstart" node "$folder/user/quickstart.js"
awk '$0 == "```" && on { exit } on { print } /^\/\/ One program for a store/ { on = 1 }' bindings/node/README.md >"$folder/user/cluster.js"
step prints "$visitors" node "$folder/user/cluster.js"
step [ -z "$(git status --porcelain)" ]
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
