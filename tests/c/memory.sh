#!/bin/bash
# Runs the C programs under valgrind and AddressSanitizer: no error, no leak, and no "possibly lost"
# memory of a store. A tool that is not installed gets a line "not run: …". The last line is
# "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit
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
events 1 0 \00,\00
diff 1 3 \00,\00
get a revision=2
get a revision=99
watch w a,z start=2 prev_kv
next w
compact 3 physical
lease_grant 10 id=7
put a 1 lease=7
time_to_live 7 keys
lease_list
advance 11
next w
resume w
cancel w
next w
revision_at 0
lock l
unlock l
campaign e 1
proclaim e 2
leader e
resign e
alarm_activate NOSPACE member=5
put a 1
alarm_list
alarm_disarm kind=NOSPACE
check
status
STEPS

if command -v valgrind >/dev/null; then
    v="valgrind -q --error-exitcode=9 --leak-check=full"
    # These open clusters: a channel of Rust's standard library leaves 48 bytes "possibly lost" for
    # the main thread.
    for program in misuse server auth; do
        check "$program under valgrind" $v --errors-for-leak-kinds=definite --show-leak-kinds=definite \
            target/c/${program}_test --no-fork
    done
    v="$v --errors-for-leak-kinds=definite,possible --show-leak-kinds=definite,possible"
    for program in watch lease quota; do
        check "$program under valgrind" $v target/c/${program}_test --no-fork
    done
    check "the driver under valgrind" sh -c "$v target/c/driver :memory: <$steps"
    [ ! -x target/c/example ] || check "the example under valgrind" $v target/c/example
else
    echo "not run: the C programs under valgrind (it is not installed)"
fi

# The static library is linked, so that the sanitizer checks the allocations of both sides.
for program in misuse watch lease quota server auth; do
    asan=target/c/${program}_asan
    if ${CC:-cc} -std=c99 -g -fsanitize=address -Iinclude -o "$asan" "tests/c/${program}_test.c" \
        target/release/libkv.a -lgcc_s -lutil -lrt -lpthread -lm -ldl 2>target/c/memory.log; then
        check "$program under AddressSanitizer" env ASAN_OPTIONS=detect_leaks=1 "$asan" --no-fork
    else
        echo "not run: $program under AddressSanitizer ($(tail -n 1 target/c/memory.log))"
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
