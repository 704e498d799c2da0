#!/bin/bash
# run.sh DIRECTORY: a demonstration of all features on a real tree of files, mainly in C.
#
# Two processes import a copy of DIRECTORY while a third reads. The copy is changed and imported
# again. Then the store is queried, and the results are compared with the copies by
# diff -r --no-dereference. Python and Node run the same queries while a C program writes. Then the
# older state is compacted. live.sh, served.sh and snapshot.sh are the last sections. If a
# comparison fails, the script ends with status 1 and the reason.
# SEED=n selects other changes. The files stay in target/demo only after a failure, or with KEEP=1.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit
bin=$PWD/target/demo-bin
python=${DEMO_PYTHON:-$PWD/target/venv/bin/python}
work=${DEMO_WORK:-$PWD/target/demo}
source=$1
seed=${SEED:-1}
started=$(date +%s%N)

fail() {
    echo "demo: failed: $*" >&2
    echo "demo: the files are in $work" >&2
    exit 1
}

heading() {
    printf '\n--- %s\n' "$*"
}

# head_of N: prints the first N lines, and the number of further lines.
head_of() {
    awk -v most="$1" 'NR <= most { print } END { if (NR > most) printf "  … and %d more\n", NR - most }'
}

[ -d "$source" ] || fail "DEMO_DIR is $source, which is not a directory"
# The copy may contain private files: no other user may read it.
rm -rf "$work"
mkdir -p "$work" && chmod 700 "$work" || fail "cannot create $work"
umask 077
# end the background loops of the sections, even after a failure
trap 'kill $(jobs -p) 2>/dev/null' EXIT
mkdir "$work/one" "$work/names"
store=$work/store
one=$work/one
two=$work/two

heading "1. A copy of $source"
"$bin/copy" "$source" "$one" "$work" || fail "the copy"
cp -a "$one" "$two" || fail "the second copy"

heading "2. Two processes import it at the same time, a third reads"
"$bin/import" "$store" "$one" 1 2 &
first=$!
"$bin/import" "$store" "$one" 2 2 &
second=$!
"$bin/read" "$store" "$one" "$work/imported" &
reader=$!
imported=0
wait "$first" || imported=1
wait "$second" || imported=1
: >"$work/imported"
wait "$reader" || fail "the reader"
[ "$imported" -eq 0 ] || fail "an importer"
revision_one=$("$bin/query" "$store" revision) || fail "the revision"
echo "the first state is revision $revision_one"

heading "3. The copy is changed (seed $seed) and imported again"
"$bin/change" "$two" "$seed" "$work/names" || fail "the changes"
"$bin/import" "$store" "$two" 1 1 || fail "the second import"
revision_two=$("$bin/query" "$store" revision) || fail "the revision"
echo "the second state is revision $revision_two"

heading "4. The changes between the two states"
"$bin/query" "$store" changes "$revision_one" "$revision_two" >"$work/changes" || fail "the changes"
sed '$d' "$work/changes" | head_of 30
tail -n 1 "$work/changes"

for name in edited removed; do
    [ -f "$work/names/$name" ] || continue
    IFS= read -r -d '' path <"$work/names/$name"
    heading "5. The versions of a file that was $name"
    "$bin/query" "$store" versions "$path" || fail "the versions of $path"
    "$bin/query" "$store" show "$path" "$revision_one" >"$work/$name" || fail "$path at revision $revision_one"
    cmp "$work/$name" "$one/$path" || fail "$path at revision $revision_one is not what was imported"
    echo "content at revision $revision_one: $(wc -c <"$work/$name") bytes, the same as in the copy"
done

# out_and_compare REVISION COPY: writes out the tree of a revision and compares it with its copy.
out_and_compare() {
    rm -rf "$work/out"
    mkdir "$work/out"
    "$bin/query" "$store" write-out "$1" "$work/out" || fail "the tree at revision $1"
    diff -r --no-dereference "$2" "$work/out" || fail "the tree at revision $1 differs from the copy"
    echo "it is the same as the copy, byte for byte"
}

heading "6. The whole tree of each revision, written out"
out_and_compare "$revision_one" "$one"
out_and_compare "$revision_two" "$two"
! diff -rq --no-dereference "$one" "$two" >/dev/null || fail "the two states are equal, so the comparison proves nothing"

# query_all PROGRAM…: runs the queries of sections 4 to 6 with a program in C, Python or Node.
query_all() {
    local path
    "$@" "$store" changes "$revision_one" "$revision_two" || return
    for name in edited removed; do
        [ -f "$work/names/$name" ] || continue
        IFS= read -r -d '' path <"$work/names/$name"
        # only versions up to this state: the writer of section 7 adds versions meanwhile
        "$@" "$store" versions "$path" | awk -v last="$revision_two" '{ match($0, /revision [0-9]+:/) }
            substr($0, RSTART + 9, RLENGTH - 10) + 0 <= last' || return
    done
    "$@" "$store" digest "$revision_one" && "$@" "$store" digest "$revision_two"
}

heading "7. Python and Node run the same queries, while a C program writes"
: >"$work/querying"
while [ -e "$work/querying" ]; do
    "$bin/import" "$store" "$one" 1 1 && "$bin/import" "$store" "$two" 1 1 || break
done >"$work/rewritten" 2>&1 &
writer=$!
first_revision=$("$bin/query" "$store" revision) || fail "the revision"
for round in $(seq 100); do
    query_all "$bin/query" >"$work/queried.c" &
    in_c=$!
    query_all "$python" tests/demo/query.py >"$work/queried.py" &
    in_python=$!
    query_all node tests/demo/query.js >"$work/queried.js" || fail "the program in JavaScript"
    wait "$in_python" || fail "the program in Python"
    wait "$in_c" || fail "the program in C"
    cmp "$work/queried.c" "$work/queried.py" || fail "Python prints other lines than C"
    cmp "$work/queried.c" "$work/queried.js" || fail "JavaScript prints other lines than C"
    last_revision=$("$bin/query" "$store" revision) || fail "the revision"
    [ "$last_revision" -eq "$first_revision" ] || break
done
rm "$work/querying"
wait "$writer"
[ "$last_revision" -gt "$first_revision" ] || fail "no revision was written meanwhile: $(cat "$work/rewritten")"
tail -n 2 "$work/queried.c"
echo "$(wc -l <"$work/queried.c") lines, the same in C, Python and JavaScript, in $round rounds while revisions $first_revision to $last_revision were written"

heading "8. Compaction at revision $revision_two"
"$bin/query" "$store" compact "$revision_two" || fail "the compaction"
"$bin/query" "$store" write-out "$revision_one" "$work/unreadable" 2>"$work/refused" && fail "revision $revision_one can still be read"
grep -q compacted "$work/refused" || fail "revision $revision_one is refused, but not as compacted: $(cat "$work/refused")"
echo "revision $revision_one: $(cat "$work/refused")"
if [ -f "$work/names/edited" ]; then
    IFS= read -r -d '' path <"$work/names/edited"
    echo "versions of the edited file that are kept:"
    "$bin/query" "$store" versions "$path" || fail "the versions of $path"
fi
echo "revision $revision_two can still be read"
out_and_compare "$revision_two" "$two"
"$bin/query" "$store" check || fail "check found problems"

heading "9. A live system: a configuration is edited and followed, leaders are killed"
tests/demo/live.sh "$work" || fail "the live system"

heading "10. The network: the store is served, etcdctl watches; the same programs on a real etcd"
tests/demo/served.sh "$work" || fail "the served store"

heading "11. Snapshots: a real etcd becomes a store, and the store becomes a real etcd"
tests/demo/snapshot.sh "$work" || fail "the snapshots"

heading "Figures"
elapsed=$((($(date +%s%N) - started) / 1000000))
"$bin/query" "$store" figures || fail "the figures"
printf 'seconds:       %d.%03d for the whole demo\n' $((elapsed / 1000)) $((elapsed % 1000))
printf 'size on disk:  %s bytes\n' "$(du -s --block-size=1 "$store" | cut -f1)"
[ -n "${KEEP:-}" ] || rm -rf "$work"
