#!/bin/bash
# served.sh WORK: section 10 of the demo, the network. `kv serve` serves the store of section 9. An
# unmodified etcdctl reads and watches it while local programs in C, Python and Node write, and the
# events of etcdctl are compared with the writes. Then the same programs in Python and Node run on a
# directory, on `kv serve` and on a real etcd; only the address changes.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit
bin=$PWD/target/demo-bin
work=$1
store=$work/live
changes=${CHANGES:-500}
limit=$((SECONDS + 120))
source tests/demo/network.sh

# End all processes, even after a failure.
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null' EXIT

if etcd=$(tests/fetch_etcd.sh 2>"$work/no-etcd"); then
    etcdctl=(env ETCDCTL_API=3 "$(dirname "$etcd")/etcdctl")
else
    etcdctl=()
    cat <<MISSING
*** etcd and etcdctl are not available: $(tail -n 1 "$work/no-etcd")
*** Only libkv's own programs run in this section.
MISSING
fi

serve "$store"
echo "kv serve, on $address"
if [ ${#etcdctl[@]} -gt 0 ]; then
    etcdctl+=(--endpoints "$address")
    # the result of section 9: the last value of each setting that the follower in C got
    awk '{ last[$2] = $3 } END { for (key in last) print key, last[key] }' "$work/c.followed" | sort >"$work/settings"
    "${etcdctl[@]}" get --prefix config/ >"$work/got" || fail "etcdctl get"
    paste -d ' ' - - <"$work/got" | grep -v '^config/end ' | sort | cmp - "$work/settings" ||
        fail "etcdctl reads other settings than the program in C"
    echo "etcdctl reads the same $(wc -l <"$work/settings") settings as the follower in C"
    revision=$("$bin/query" "$store" revision) || fail "the revision"
    "${etcdctl[@]}" watch --prefix shop/ --rev $((revision + 1)) -w json >"$work/etcdctl.events" &
    watcher=$!
fi
"$bin/served" "$store" "$changes" >"$work/wrote.c" & writers=($!)
"$python" tests/demo/served.py write "$store" "$changes" >"$work/wrote.python" & writers+=($!)
node tests/demo/served.js write "$store" "$changes" >"$work/wrote.node" & writers+=($!)
for writer in "${writers[@]}"; do
    wait "$writer" || fail "a program that writes"
done
if [ ${#etcdctl[@]} -gt 0 ]; then
    "${etcdctl[@]}" put shop/end over >"$work/end" || fail "etcdctl put: $(cat "$work/end")"
    # the key shop/end in base64
    in_time "etcdctl does not get the end" grep -q c2hvcC9lbmQ= "$work/etcdctl.events"
    kill "$watcher"
    wait "$watcher" 2>/dev/null
    "$python" tests/demo/served.py check "$work/etcdctl.events" "$work"/wrote.{c,python,node} || fail "the events of etcdctl"
fi
kill "$server"
wait "$server" || fail "kv serve ends with status $?: $(cat "$work/serve.log")"

# tour WHERE TARGET LANGUAGE: runs the tour of a language on an empty store.
tour() {
    case $3 in
    python) "$python" tests/demo/served.py tour "$2" ;;
    node) node tests/demo/served.js tour "$2" ;;
    esac >"$work/tour.$3.$1" || fail "the tour in $3 on $1"
}

echo "The same program on a directory, on kv serve and on an etcd cluster:"
for language in python node; do
    tour directory "$work/tour-$language" $language
    serve "$work/tour-served-$language"
    tour served "$address" $language
    kill "$server"
    wait "$server"
    cmp "$work/tour.$language.directory" "$work/tour.$language.served" || fail "$language: kv serve differs"
    where="a directory and kv serve"
    if [ ${#etcdctl[@]} -gt 0 ]; then
        start_etcd "$work/etcd-$language"
        tour etcd "$address" $language
        kill "$server"
        wait "$server" 2>/dev/null
        cmp "$work/tour.$language.directory" "$work/tour.$language.etcd" || fail "$language: a real etcd differs"
        where="a directory, kv serve and a real etcd 3.5.1"
    fi
    echo "$language: $(wc -l <"$work/tour.$language.directory") lines, the same on $where"
done
