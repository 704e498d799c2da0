#!/bin/bash
# run.sh DIRECTORY: the main job from end to end, on a real tree of files, through the C library.
#
# Two processes import a copy of DIRECTORY while a third reads; the copy is changed and imported
# again; then the store is queried, and its responses are compared with the copies by
# diff -r --no-dereference; Python and Node ask the same while a C program writes; and the older
# state is compacted away. Ends with status 1 and a reason if
# any comparison fails. SEED=n draws other changes. What was made stays in target/demo until the
# next run only if something failed, or with KEEP=1.
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
    echo "demo: what was made is in $work" >&2
    exit 1
}

heading() {
    printf '\n--- %s\n' "$*"
}

# At most this number of lines of a list, and how many more there are.
head_of() {
    awk -v most="$1" 'NR <= most { print } END { if (NR > most) printf "  … and %d more\n", NR - most }'
}

[ -d "$source" ] || fail "DEMO_DIR is $source, which is not a directory"
# The copy may hold what only its owner may read: no other user gets in.
rm -rf "$work"
mkdir -p "$work" && chmod 700 "$work" || fail "cannot make $work"
umask 077
# a failure must not leave the loops of the sections behind
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
revision_one=$("$bin/ask" "$store" revision) || fail "the revision"
echo "the first state is revision $revision_one"

heading "3. The copy is changed (seed $seed) and imported again"
"$bin/change" "$two" "$seed" "$work/names" || fail "the changes"
"$bin/import" "$store" "$two" 1 1 || fail "the second import"
revision_two=$("$bin/ask" "$store" revision) || fail "the revision"
echo "the second state is revision $revision_two"

heading "4. What changed between the two?"
"$bin/ask" "$store" changes "$revision_one" "$revision_two" >"$work/changes" || fail "the changes"
sed '$d' "$work/changes" | head_of 30
tail -n 1 "$work/changes"

for name in edited removed; do
    [ -f "$work/names/$name" ] || continue
    IFS= read -r -d '' path <"$work/names/$name"
    heading "5. The versions of a file that was $name"
    "$bin/ask" "$store" versions "$path" || fail "the versions of $path"
    "$bin/ask" "$store" show "$path" "$revision_one" >"$work/$name" || fail "$path as it was"
    cmp "$work/$name" "$one/$path" || fail "$path at revision $revision_one is not what was imported"
    echo "as it was at revision $revision_one: $(wc -c <"$work/$name") bytes, the same as in the copy"
done

# out_and_compare REVISION COPY: the whole tree as it was, beside the copy of that state.
out_and_compare() {
    rm -rf "$work/out"
    mkdir "$work/out"
    "$bin/ask" "$store" write-out "$1" "$work/out" || fail "the tree at revision $1"
    diff -r --no-dereference "$2" "$work/out" || fail "the tree at revision $1 differs from the copy"
    echo "it is the same as the copy, byte for byte"
}

heading "6. The whole tree as it was, written out"
out_and_compare "$revision_one" "$one"
out_and_compare "$revision_two" "$two"
! diff -rq --no-dereference "$one" "$two" >/dev/null || fail "the two states are the same, so this shows nothing"

# The questions of section 4 to 6, asked of the C, Python or Node program given.
ask_all() {
    local path
    "$@" "$store" changes "$revision_one" "$revision_two" || return
    for name in edited removed; do
        [ -f "$work/names/$name" ] || continue
        IFS= read -r -d '' path <"$work/names/$name"
        # of this state: the writer of section 7 adds versions meanwhile
        "$@" "$store" versions "$path" | awk -v last="$revision_two" '{ match($0, /revision [0-9]+:/) }
            substr($0, RSTART + 9, RLENGTH - 10) + 0 <= last' || return
    done
    "$@" "$store" digest "$revision_one" && "$@" "$store" digest "$revision_two"
}

heading "7. Python and Node ask the same, while a C program writes"
: >"$work/asking"
while [ -e "$work/asking" ]; do
    "$bin/import" "$store" "$one" 1 1 && "$bin/import" "$store" "$two" 1 1 || break
done >"$work/rewritten" 2>&1 &
writer=$!
asked_from=$("$bin/ask" "$store" revision) || fail "the revision"
for round in $(seq 100); do
    ask_all "$bin/ask" >"$work/asked.c" &
    in_c=$!
    ask_all "$python" tests/demo/ask.py >"$work/asked.py" &
    in_python=$!
    ask_all node tests/demo/ask.js >"$work/asked.js" || fail "the program in JavaScript"
    wait "$in_python" || fail "the program in Python"
    wait "$in_c" || fail "the program in C"
    cmp "$work/asked.c" "$work/asked.py" || fail "Python prints other lines than C"
    cmp "$work/asked.c" "$work/asked.js" || fail "JavaScript prints other lines than C"
    asked_to=$("$bin/ask" "$store" revision) || fail "the revision"
    [ "$asked_to" -eq "$asked_from" ] || break
done
rm "$work/asking"
wait "$writer"
[ "$asked_to" -gt "$asked_from" ] || fail "nothing was written meanwhile: $(cat "$work/rewritten")"
tail -n 2 "$work/asked.c"
echo "$(wc -l <"$work/asked.c") lines, the same in C, Python and JavaScript, in $round rounds while revisions $asked_from to $asked_to were written"

heading "8. Compaction at revision $revision_two: what is gone, what is not"
"$bin/ask" "$store" compact "$revision_two" || fail "the compaction"
"$bin/ask" "$store" write-out "$revision_one" "$work/gone" 2>"$work/refused" && fail "revision $revision_one can still be read"
grep -q compacted "$work/refused" || fail "revision $revision_one is refused, but not as compacted: $(cat "$work/refused")"
echo "gone:  $(cat "$work/refused")"
if [ -f "$work/names/edited" ]; then
    IFS= read -r -d '' path <"$work/names/edited"
    echo "kept of the edited file:"
    "$bin/ask" "$store" versions "$path" || fail "the versions of $path"
fi
echo "still there: revision $revision_two"
out_and_compare "$revision_two" "$two"
"$bin/ask" "$store" check || fail "check found problems"

heading "9. A live system: a configuration is edited and followed, leaders are killed"
tests/demo/live.sh "$work" || fail "the live system"

heading "10. On the network: the store is served, etcdctl watches; the same programs on a real etcd"
tests/demo/served.sh "$work" || fail "the served store"

heading "Figures"
elapsed=$((($(date +%s%N) - started) / 1000000))
"$bin/ask" "$store" figures || fail "the figures"
printf 'seconds:       %d.%03d for all of this\n' $((elapsed / 1000)) $((elapsed % 1000))
printf 'size on disk:  %s bytes\n' "$(du -s --block-size=1 "$store" | cut -f1)"
[ -n "${KEEP:-}" ] || rm -rf "$work"
