#!/bin/bash
# Tests the README's programs: they equal files of this tree, they compile and run as described, and
# all print the output in the README. Python and Node use the packages of `make bindings`.
set -u
cd "$(dirname "$0")/.." || exit
cargo=${CARGO:-cargo}
work=$(mktemp -d "${TMPDIR:-/tmp}/readme.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# fence LANGUAGE: the first code block of the README in that language.
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
fence python >"$work/quickstart.py"
fence javascript >"$work/quickstart.js"
fence text >"$work/expected"
check "README's Rust is core/examples/quickstart.rs" diff "$work/quickstart.rs" core/examples/quickstart.rs
check "README's C is tests/c/example.c" diff "$work/example.c" tests/c/example.c
check "README's Python is bindings/python/examples/quickstart.py" \
    diff "$work/quickstart.py" bindings/python/examples/quickstart.py
check "README's JavaScript is bindings/node/examples/quickstart.js" \
    diff "$work/quickstart.js" bindings/node/examples/quickstart.js
check "README has their output" test -s "$work/expected"

"$cargo" run --quiet --locked -p libkv --example quickstart >"$work/rust.out"
check "the Rust program runs" test $? -eq 0
${CC:-cc} -std=c99 -Wall -Wextra -pedantic -Werror -Iinclude "$work/example.c" -Ltarget/release -lkv \
    -Wl,-rpath,"$PWD/target/release" -o "$work/example" && "$work/example" >"$work/c.out"
check "the C program compiles and runs" test $? -eq 0
"${CARGO_TARGET_DIR:-target}/venv/bin/python" "$work/quickstart.py" >"$work/python.out"
check "the Python program runs" test $? -eq 0
mkdir "$work/node_modules" && ln -s "$PWD/bindings/node" "$work/node_modules/libkv" &&
    node "$work/quickstart.js" >"$work/node.out"
check "the JavaScript program runs" test $? -eq 0
check "the Rust program prints the output in the README" diff "$work/expected" "$work/rust.out"
for language in c python node; do
    check "the program in $language prints the same" diff "$work/expected" "$work/$language.out"
done
fence rust,coordinate >"$work/coordinate.rs"
check "README's worker is core/examples/coordinate.rs" diff "$work/coordinate.rs" core/examples/coordinate.rs
"${CARGO_TARGET_DIR:-target}/venv/bin/python" -c "import libkv, sys
with libkv.open(sys.argv[1]) as db:
    db.put('config/colour', 'green')
    db.put('config/stop', 'now')" "$work/store" &&
    timeout 60 "$cargo" run --quiet --locked -p libkv --example coordinate "$work/store" >"$work/coordinate.out"
check "the worker runs" test $? -eq 0
printf '%s\n' 'fenced by revision 4' '2 config/colour = green' '3 config/stop = now' >"$work/coordinated"
check "the worker reads the changes that Python wrote" diff "$work/coordinated" "$work/coordinate.out"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
