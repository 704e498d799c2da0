#!/bin/bash
# The suite of the Python package, in target/venv. Arguments go to pytest. The last line is
# "N passed, N failed". A test that could not run prints a line "not run: what (why)".
set -u -o pipefail
cd "$(dirname "$0")" || exit
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}
./venv.sh || {
    echo "not run: the Python package (target/venv could not be created)"
    echo "0 passed, 1 failed"
    exit 1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$CARGO_TARGET_DIR/venv/bin/python" -m pytest -p no:cacheprovider "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
sed -n 's/^SKIPPED \[[0-9]*\] \([^ ]*\): \(.*\)$/not run: \1 (\2)/p' "$log"
count() { tail -n 1 "$log" | grep -oE "[0-9]+ $1" | cut -d ' ' -f 1; }
passed=$(count passed) failed=$(count failed) errors=$(count error)
failed=$((${failed:-0} + ${errors:-0}))
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "${passed:-0} passed, $failed failed"
[ "$failed" -eq 0 ]
