#!/bin/bash
# live.sh WORK: section 9 of the demo, a live system. While one process edits a configuration,
# programs in C, Python and Node follow it. Three more campaign in an election, and the leader is
# killed repeatedly. At the end the changes that each program got are checked, and a table of delays
# is printed.
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

# End all processes, even after a failure.
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null' EXIT

# part LANGUAGE WORD…: runs the program of that language.
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

campaign() {
    : >"$work/$1.leader"
    part "$1" lead "$store" "$1" >>"$work/led.$1" 2>"$work/$1.leader" &
    in_time "the $1 program that campaigns: $(cat "$work/$1.leader")" grep -q ready "$work/$1.leader"
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
    campaign $language
done
"$bin/live" edit "$store" "$changes" &
editor=$!
pid=none
in_time "no process leads" led_by_other none
: >"$work/killed"
for _ in $(seq $kills); do
    sleep 0.2 # the leader leads for a while
    killed=$pid former=$name
    killed_at=$(date +%s%N)
    kill -9 "$killed" || fail "the leader had already ended: $(cat "$work/$former.leader")"
    wait "$killed" 2>/dev/null # hides the shell's message about the kill
    in_time "no process leads after $former" led_by_other "$killed"
    # the new leader prints the time when it began to lead
    in_time "$name does not print that it leads" test -s "$work/led.$name"
    echo $(($(date +%s%N) - killed_at)) >>"$work/killed"
    campaign "$former"
done
wait $editor || fail "the editor"
for at in 0 1 2; do
    wait "${followers[$at]}" || fail "a follower: $(cat "$work"/*.follower)"
done
"$python" tests/demo/live.py check "$store" "$work/killed" "$work"/{c,python,node}.followed || fail "the comparison of the programs"
