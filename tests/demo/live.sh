#!/bin/bash
# live.sh WORK: the second act of the demo, on a live system. While one process edits a
# configuration, programs in C, Python and Node follow it; three more stand for election, and whoever
# leads is killed, again and again. At the end who saw what is checked, and printed as a table.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit
bin=$PWD/target/demo-bin
python=${DEMO_PYTHON:-$PWD/target/venv/bin/python}
work=$1
store=$work/live
changes=${CHANGES:-500}
kills=6
limit=$((SECONDS + 120))

fail() {
    echo "demo: failed: $*" >&2
    exit 1
}

# Ends what is still there, however this ends.
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null' EXIT

# part LANGUAGE WORD…: the program of that language.
part() {
    case $1 in
    c) exec "$bin/live" "${@:2}" ;;
    python) exec "$python" tests/demo/live.py "${@:2}" ;;
    node) exec node tests/demo/live.js "${@:2}" ;;
    esac
}

# in_time WHAT COMMAND…: waits until the command succeeds.
in_time() {
    local what=$1
    shift
    until "$@"; do
        [ $SECONDS -lt $limit ] || fail "$what"
        sleep 0.01
    done
}

stand() {
    : >"$work/$1.leader"
    part "$1" lead "$store" "$1" >>"$work/led.$1" 2>"$work/$1.leader" &
    in_time "the $1 program that stands for election: $(cat "$work/$1.leader")" grep -q ready "$work/$1.leader"
}

# Whether a process other than this one leads.
led_by_other() {
    read -r name pid _ < <("$bin/live" leader "$store") && [ "$pid" != "$1" ]
}

mkdir "$store"
followers=()
for language in c python node; do
    : >"$work/$language.follower"
    part $language follow "$store" >"$work/$language.followed" 2>"$work/$language.follower" &
    followers+=($!)
    in_time "the $language program that follows" grep -q ready "$work/$language.follower"
done
for language in c python node; do
    stand $language
done
"$bin/live" edit "$store" "$changes" &
editor=$!
pid=none
in_time "no process leads" led_by_other none
: >"$work/killed"
for _ in $(seq $kills); do
    sleep 0.2 # it leads for a while
    killed=$pid stood=$name
    died=$(date +%s%N)
    kill -9 "$killed" || fail "the leader was gone already: $(cat "$work/$stood.leader")"
    wait "$killed" 2>/dev/null # the shell says nothing of it
    in_time "no process leads after $stood" led_by_other "$killed"
    # the new leader says when it began
    in_time "$name does not say that it leads" test -s "$work/led.$name"
    echo $(($(date +%s%N) - died)) >>"$work/killed"
    stand "$stood"
done
wait $editor || fail "the editor"
for at in 0 1 2; do
    wait "${followers[$at]}" || fail "a follower: $(cat "$work"/*.follower)"
done
"$python" tests/demo/live.py check "$store" "$work/killed" "$work"/{c,python,node}.followed || fail "who saw what"
