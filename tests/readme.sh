#!/bin/bash
# The README's programs are files of this tree, word for word; they compile as the README says, run,
# and print what the README says they print, both the same.
set -u
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
work=$(mktemp -d "${TMPDIR:-/tmp}/readme.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# fence LANGUAGE: the first block of the README that is fenced as that language.
fence() {
    awk -v open="\`\`\`$1" '$0 == "```" && on { exit } on { print } $0 == open { on = 1 }' README.md
}

check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        echo "failed: $what"
        failed=$((failed + 1))
    fi
}

fence rust >"$work/quickstart.rs"
fence c >"$work/example.c"
fence text >"$work/expected"
check "README's Rust is core/examples/quickstart.rs" diff "$work/quickstart.rs" core/examples/quickstart.rs
check "README's C is tests/c/example.c" diff "$work/example.c" tests/c/example.c
check "README says what they print" test -s "$work/expected"

"$cargo" run --quiet --locked -p libkv --example quickstart >"$work/rust.out"
check "the Rust program runs" test $? -eq 0
${CC:-cc} -std=c99 -Wall -Wextra -pedantic -Werror -Iinclude "$work/example.c" -Ltarget/release -lkv \
    -Wl,-rpath,"$PWD/target/release" -o "$work/example" && "$work/example" >"$work/c.out"
check "the C program compiles and runs" test $? -eq 0
check "the Rust program prints what README says" diff "$work/expected" "$work/rust.out"
check "the C program prints the same" diff "$work/expected" "$work/c.out"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
