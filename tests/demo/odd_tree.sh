#!/bin/bash
# `make demo` on a tree with unusual names, sizes and kinds of files. The whole demo must pass on it,
# and must list each skipped file with the reason.
set -u
cd "$(dirname "$0")/../.." || exit
tree=$PWD/target/odd-tree
log=$PWD/target/odd-tree.log
passed=0
failed=0

check() {
    local what=$1
    shift
    if "$@" >/dev/null; then
        passed=$((passed + 1))
    else
        echo "failed: $what"
        failed=$((failed + 1))
    fi
}

rm -rf "$tree"
mkdir -p "$tree/empty/nest/ed" "$tree/many" "$tree/two"$'\n'"lines" "$tree/a.b" "$tree/a" "$tree/a/b"
printf 'in a\n' >"$tree/a/file"
printf 'beside a\n' >"$tree/a.b/file"
printf 'name of two lines\n' >"$tree/two"$'\n'"lines/na"$'\n'"me"
printf 'no text\n' >"$tree/"$'\xff\xfe\x80'
printf 'ends so\n' >"$tree/ends in a newline"$'\n'
printf 'a space\n' >"$tree/ "
printf -- '-rf\n' >"$tree/-rf"
: >"$tree/nothing"
printf '\0\0\377' >"$tree/binary"
ln -s 'nowhere at all' "$tree/dangling"
ln -s . "$tree/itself"
ln -s "$(printf 'x%.0s' $(seq 3000))" "$tree/long link"
printf '#!/bin/sh\n' >"$tree/program" && chmod 755 "$tree/program"
# more bytes and more files than fit into a transaction
head -c $((20 << 20)) /dev/urandom >"$tree/20 MiB"
head -c $((40 << 20)) /dev/urandom >"$tree/40 MiB"
(cd "$tree/many" && for i in $(seq 10050); do echo "$i" >"$i"; done)
# entries that are skipped
mkfifo "$tree/fifo"
deep=$tree
for _ in 1 2 3; do deep=$deep/$(printf 'd%.0s' $(seq 200)); done
mkdir -p "$deep" && printf 'far down\n' >"$deep/file"
truncate -s 65M "$tree/65 MiB"
expected=4 # the fifo, the deep directory, the large file, and the unreadable file
if [ "$(id -u)" -eq 0 ]; then
    echo "not run: an unreadable file and directory in the demo (root reads everything)"
    expected=3
else
    printf 'secret\n' >"$tree/unreadable" && chmod 0 "$tree/unreadable"
fi

export DEMO_WORK=$PWD/target/odd-demo
tests/demo/run.sh "$tree" >"$log" 2>&1
status=$?
check "the demo passes on a tree of odd names and sizes (see $log)" test $status -eq 0
check "skipped files are counted" grep -q "not copied: $expected\$" "$log"
check "the fifo is listed" grep -q '^  fifo: neither file nor link' "$log"
check "the deep path is listed" grep -q '^  d.*: path of more than 480 bytes' "$log"
check "the large file is listed" grep -q '^  65 MiB: file of more than 64 MiB' "$log"
[ $status -eq 0 ] || tail -n 5 "$log"
tests/demo/run.sh "$tree/nothing" >/dev/null 2>&1
check "a DEMO_DIR that is not a directory ends with status 1" test $? -eq 1
chmod -R u+rwX "$tree" && rm -rf "$tree"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
