#!/bin/bash
# Installs and runs the suite of Node; the last line is "N passed, N failed". Called by tests/run.sh.
# Builds the native part first if it is out of date.
set -u -o pipefail
cd "$(dirname "$0")" || exit

not_run() {
    echo "not run: the suite of Node ($1)"
    echo "0 passed, 0 failed"
    exit 0
}

command -v node >/dev/null || not_run "no node on the PATH"
command -v npm >/dev/null || not_run "no npm on the PATH"
node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 17) ? 0 : 1)' ||
    not_run "node $(node --version); 20.17 or later is required"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
prepare() {
    make --no-print-directory --silent -C ../.. lib && ./build.sh --built &&
        npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
}
if ! prepare >"$log" 2>&1; then
    cat "$log"
    echo "the native part or npm ci failed"
    echo "0 passed, 1 failed"
    exit 1
fi

# One file at a time: some tests stop processes and count the turns of the loop. The time-out is for
# each file. It ends a wait that blocks the thread; other waits have the deadline of their test.
node --test --test-concurrency=1 --test-timeout=300000 --test-reporter=tap test/*.test.js >"$log"
status=$?
count() {
    sed -n "s/^# $1 \([0-9]*\)$/\1/p" "$log" | tail -n 1
}
passed=$(count pass)
failed=$(($(count fail) + $(count cancelled)))
sed -n 's/^ok [0-9]* - /ok: /p' "$log"
# print the whole report of each failure, from "not ok" to its end
sed -n '/^ *not ok /,/^ *\.\.\.$/p' "$log"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    tail -n 50 "$log"
    failed=1
fi
echo "${passed:-0} passed, $failed failed"
[ "$failed" -eq 0 ]
