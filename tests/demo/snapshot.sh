#!/bin/bash
# snapshot.sh WORK: section 11 of the demo, snapshots. A real etcd gets a history. Its snapshot
# becomes a store. The store is read at old revisions, served, and saved, and the saved snapshot
# becomes a real etcd again. Each place must have the same pairs at old revisions, the same history
# of a key, and the same hash of the whole history (HashKV). Without a real etcd the first place is
# a store, the last one too, and the last lines of the section contain the reason.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit
work=$1/snapshot
limit=$((SECONDS + 600))
source tests/demo/network.sh
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null' EXIT
mkdir "$work" || exit

# stop: ends the server that was started last.
stop() {
    kill "$server"
    wait "$server" 2>/dev/null
}

# revision_of TARGET: prints the current revision of a store or a cluster.
revision_of() {
    local hash revision
    IFS=', ' read -r hash revision < <("$kv" -s "$1" hash-kv) && echo "$revision"
}

# fill TARGET: writes a history with leases, a txn, deletions and a compaction. Sets old, which are
# revisions that can be read after that.
fill() {
    local lease number
    lease=$("$kv" -s "$1" lease grant 3600 | grep -o '[0-9a-f]\{16\}') || fail "a lease"
    for number in $(seq 30); do
        "$kv" -s "$1" put "config/$((number % 6))" "value $number" >/dev/null || fail "a put"
    done
    "$kv" -s "$1" put --lease "$lease" config/leased here >/dev/null || fail "a put with a lease"
    "$kv" -s "$1" del config/3 >/dev/null || fail "a deletion"
    printf 'ver("config/1") > "0"\n\nput config/1 "by a txn"\nput config/3 again\ndel config/5\n\n\n' |
        "$kv" -s "$1" txn >/dev/null || fail "a txn"
    local current
    current=$(revision_of "$1") || fail "the revision"
    "$kv" -s "$1" compact 10 >/dev/null || fail "the compaction"
    old=(10 20 $((current - 2)) "$current")
}

# place NAME TARGET: compares a place with the first one, and prints a line.
place() {
    local name=$1 target=$2 hash revision theirs at
    IFS=', ' read -r hash revision < <("$kv" -s "$target" hash-kv) || fail "the hash of $name"
    if [ ${#etcdctl[@]} -gt 0 ] && [[ $target == http:* ]]; then
        theirs=$("${etcdctl[@]}" --endpoints "$target" endpoint hashkv | cut -d , -f 2 | tr -d ' ')
        [ "$theirs" = "$hash" ] || fail "$name: etcdctl prints the hash $theirs, kv prints $hash"
        theirs=$("${etcdctl[@]}" --endpoints "$target" get --prefix config/ --rev 20 | sha256sum)
        [ "$theirs" = "$("$kv" -s "$target" get --prefix config/ --at 20 | sha256sum)" ] ||
            fail "$name: etcdctl and kv read other pairs at revision 20"
    fi
    for at in "${old[@]}"; do
        echo "revision $at"
        "$kv" -s "$target" ls -l --prefix config/ --at "$at" || fail "$name at revision $at"
    done >"$work/pairs"
    "$kv" -s "$target" history config/1 >>"$work/pairs" || fail "the history in $name"
    echo "$revision, HashKV $hash" >>"$work/pairs"
    [ -f "$work/first" ] || cp "$work/pairs" "$work/first"
    cmp "$work/pairs" "$work/first" || fail "$name has other pairs or another history than the first place"
    printf '%-34s revision %s, HashKV %s\n' "$name" "$revision" "$hash"
}

etcd='' etcdctl=()
if etcd=$(tests/fetch_etcd.sh 2>"$work/no-etcd") || etcd=$(tests/fetch_etcd37.sh 2>>"$work/no-etcd"); then
    etcdctl=(env ETCDCTL_API=3 "$(dirname "$etcd")/etcdctl")
    start_etcd "$work/etcd"
    fill "$address"
    place "a real etcd" "$address"
    "${etcdctl[@]}" --endpoints "$address" snapshot save "$work/etcd.db" >"$work/saved" 2>&1 ||
        fail "etcdctl snapshot save: $(cat "$work/saved")"
    stop
else
    fill "$work/origin"
    place "a store" "$work/origin"
    "$kv" -s "$work/origin" snapshot save "$work/etcd.db" >"$work/saved" || fail "kv snapshot save"
fi

"$kv" restore "$work/etcd.db" "$work/store" >"$work/restored" || fail "kv restore"
place "kv restore: a store" "$work/store"
"$kv" -s "$work/store" check >"$work/checked" || fail "check found problems: $(cat "$work/checked")"
echo "  the key config/1 at revision 20: $("$kv" -s "$work/store" get config/1 --at 20 --print-value-only)"
echo "  its history: $("$kv" -s "$work/store" history config/1 | wc -l) events, the newest first"
"$kv" -s "$work/store" history config/1 | head -n 3 | sed 's/^/    /'

serve "$work/store"
place "kv serve" "$address"
stop

"$kv" -s "$work/store" snapshot save "$work/store.db" >"$work/saved" || fail "kv snapshot save"
if [ ${#etcdctl[@]} -gt 0 ]; then
    "$(dirname "$etcd")/etcdutl" snapshot restore "$work/store.db" --data-dir "$work/again" >"$work/restored" 2>&1 ||
        fail "etcdutl snapshot restore: $(cat "$work/restored")"
    start_etcd "$work/again"
    last=$address name="etcdutl restore: a real etcd"
else
    "$kv" restore "$work/store.db" "$work/again" >"$work/restored" || fail "kv restore"
    last=$work/again name="kv restore: another store"
fi
place "$name" "$last"

# the next write has the same revision and the same effect in both
rm "$work/first"
for target in "$work/store" "$last"; do
    "$kv" -s "$target" put config/next "the same" >/dev/null || fail "a put"
done
place "the store, after one more put" "$work/store"
place "the other, after the same put" "$last"
[ ${#etcdctl[@]} -eq 0 ] || stop
echo "at each place: the same pairs at revisions ${old[*]}, and the same history"
if [ ${#etcdctl[@]} -eq 0 ]; then
    cat <<MISSING
*** etcd, etcdctl and etcdutl are not available: $(tail -n 1 "$work/no-etcd")
*** The first snapshot was one of \`kv snapshot save\`, and no real etcd was compared.
MISSING
fi
