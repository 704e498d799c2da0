#!/bin/bash
# A fresh install: from a clean clone into empty environments, each in one go, as the READMEs say; then
# the README's programs run there. The last line is "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
unset VIRTUAL_ENV PYTHONPATH NODE_PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# What others build is not built again: the clone's own crates are, since they stand elsewhere.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
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
says() { [ "$("${@:2}")" = "$1" ]; }
quickstart=$'revision 2: hello\nrevision 3: goodbye'

step git clone --quiet . "$folder/clone"
cd "$folder/clone" || exit 1
step "${PYTHON:-python3}" -m venv "$folder/venv"
step "$folder/venv/bin/pip" install --disable-pip-version-check ./bindings/python
step says "$quickstart" "$folder/venv/bin/python" bindings/python/examples/quickstart.py
step "$folder/venv/bin/python" bindings/python/examples/aio.py
visitors=$'1 visitor in this process\n2 visitors over the network'
step says "$visitors" "$folder/venv/bin/python" bindings/python/examples/cluster.py
step npm install --prefix bindings/node --no-audit --no-fund --loglevel=error
# as a user of the package, in a folder of their own
step mkdir -p "$folder/user/node_modules"
step ln -s "$folder/clone/bindings/node" "$folder/user/node_modules/libkv"
step cp bindings/node/examples/quickstart.js "$folder/user/quickstart.js"
step says "$quickstart" node "$folder/user/quickstart.js"
awk '$0 == "```" && on { exit } on { print } /^\/\/ One program for a store/ { on = 1 }' bindings/node/README.md >"$folder/user/cluster.js"
step says "$visitors" node "$folder/user/cluster.js"
step [ -z "$(git status --porcelain)" ]
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
