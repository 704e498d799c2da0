#!/bin/bash
# Runs every suite and adds up the results; called by `make test`, after `make`.
#
# The counts come from cargo's "test result:" lines, and from a line "N passed, N failed" of any
# other suite. A suite that fails without a counted failure, or that runs nothing, counts as one
# failure, so that a crashed suite is never taken for a successful one. A suite that ends with 77
# and a line "not run: what (why)" cannot run here and is not counted. The lines "not run: what
# (why)" of all suites are repeated in the line before the last.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo=${CARGO:-cargo}
logs=target/test-logs
rm -rf "$logs"
mkdir -p "$logs"

passed=0
failed=0
not_run=()
bad=()

# suite NAME SECONDS COMMAND...
suite() {
    local name=$1 seconds=$2 log="$logs/$1.log" status ok no
    shift 2
    echo "=== $name"
    timeout --kill-after=10 "$seconds" "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    read -r ok no < <(awk '
        /^test result: /                     { ok += $4; no += $6 }
        /^([^ ]+: )?[0-9]+ passed, [0-9]+ failed$/ { ok += $(NF - 3); no += $(NF - 1) }
        END                                  { print ok + 0, no + 0 }' "$log")
    [ "$status" -ne 124 ] || echo "$name: not done after $seconds s"
    if [ "$status" -eq 77 ] && [ "$ok" -eq 0 ] && [ "$no" -eq 0 ] && grep -q '^not run: ' "$log"; then
        echo "$name: cannot run here"
    elif [ "$status" -ne 0 ] && [ "$no" -eq 0 ]; then
        echo "$name: ended with status $status"
        no=1
    elif [ "$ok" -eq 0 ] && [ "$no" -eq 0 ]; then
        echo "$name: ran nothing"
        no=1
    fi
    [ "$no" -eq 0 ] || bad+=("$name")
    passed=$((passed + ok))
    failed=$((failed + no))
    while IFS= read -r line; do
        not_run+=("${line#not run: }")
    done < <(grep -a '^not run: ' "$log" | sort -u
             sed -n 's/^test \(.*\) \.\.\. ignored.*/not run: \1 (ignored)/p' "$log" | sort -u)
}

suite readme 600 tests/readme.sh
suite install 600 tests/install.sh
for program in target/c/*_test; do
    [ -x "$program" ] && suite "c-$(basename "$program" _test)" 300 "$program"
done
suite plain 120 tests/plain.sh
suite c-memory 300 tests/c/memory.sh
suite python 600 bindings/python/test.sh
suite node 600 bindings/node/test.sh
suite fresh 900 tests/fresh.sh
suite clients 1200 tests/clients.sh
suite kubernetes 900 tests/kubernetes.sh
suite demo 300 tests/demo/odd_tree.sh
# --show-output: a test that could not run everything prints a line "not run: …"
suite cargo 2400 "$cargo" test --workspace --locked --no-fail-fast -- --show-output

echo
[ ${#bad[@]} -eq 0 ] || echo "failed: ${bad[*]} (whole output in $logs)"
if [ ${#not_run[@]} -eq 0 ]; then
    echo "not run: nothing"
else
    (IFS=';'; echo "not run: ${not_run[*]}" | sed 's/;/; /g')
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
