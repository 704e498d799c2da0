#!/bin/bash
# A fresh install: from a clean clone into an empty environment, in one go, as the README says; then the
# quick start and the test of examples/ run there. The last line is "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/../.."
unset CARGO_TARGET_DIR VIRTUAL_ENV PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
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
quickstart() { [ "$("$1" bindings/python/examples/quickstart.py)" = $'revision 2: hello\nrevision 3: goodbye' ]; }

step git clone --quiet . "$folder/clone"
cd "$folder/clone" || exit 1
step "${PYTHON:-python3}" -m venv "$folder/venv"
step "$folder/venv/bin/pip" install --disable-pip-version-check ./bindings/python
step quickstart "$folder/venv/bin/python"
step "$folder/venv/bin/python" bindings/python/examples/aio.py
step [ -z "$(git status --porcelain)" ]
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
