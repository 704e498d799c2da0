#!/bin/bash
# The C programs under valgrind and AddressSanitizer: no error, no leak. What is not installed is
# said in a line "not run: …"; the last line is "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/../.."
passed=0
failed=0

check() {
    local name=$1
    shift
    if "$@" >target/c/memory.log 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        tail -n 40 target/c/memory.log
    fi
}

steps=target/c/memory.steps
cat >"$steps" <<'STEPS'
put a 1 prev_kv
put a *3000 prev_kv
txn if version > 1 a ; then put b 2 ; txn then range \00,\00 ; delete b,c prev_kv ; end ; else end
txn if version > 1 a ; then put b 2 ; txn then range \00,\00 ; end ; else end
range \00,\00 target=value order=descend
scan \00,\00
history a
changes 1 0 \00,\00
diff 1 3 \00,\00
get a revision=2
get a revision=99
compact 3 physical
check
status
STEPS

if command -v valgrind >/dev/null; then
    v="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite"
    check "misuse under valgrind" $v target/c/misuse_test --no-fork
    check "the driver under valgrind" sh -c "$v target/c/driver :memory: <$steps"
    [ ! -x target/c/example ] || check "the example under valgrind" $v target/c/example
else
    echo "not run: the C programs under valgrind (it is not installed)"
fi

# The archive is linked, so that the sanitizer sees every allocation of both sides.
asan=target/c/misuse_asan
if ${CC:-cc} -std=c99 -g -fsanitize=address -Iinclude -o "$asan" tests/c/misuse_test.c target/release/libkv.a \
    -lgcc_s -lutil -lrt -lpthread -lm -ldl 2>target/c/memory.log; then
    check "misuse under AddressSanitizer" env ASAN_OPTIONS=detect_leaks=1 "$asan" --no-fork
else
    echo "not run: the C programs under AddressSanitizer ($(tail -n 1 target/c/memory.log))"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
