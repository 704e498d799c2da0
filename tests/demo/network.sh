# network.sh: functions of the sections of the demo that start servers. A script reads it with
# `source`, after it has set work (the directory for files) and limit (when every wait ends, as a
# value of SECONDS).
# shellcheck shell=bash
kv=${DEMO_KV:-$PWD/target/release/kv}
python=${DEMO_PYTHON:-$PWD/target/venv/bin/python}

fail() {
    echo "demo: failed: $*" >&2
    exit 1
}

# in_time WHAT COMMAND…: waits until the command succeeds.
in_time() {
    local what=$1
    shift
    until "$@"; do
        [ $SECONDS -lt "$limit" ] || fail "$what"
        sleep 0.01
    done
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# serve STORE: starts `kv serve` on $address and waits until it is ready.
serve() {
    address=http://127.0.0.1:$(free_port)
    # without the line of an earlier server
    : >"$work/serve.log"
    "$kv" serve "$1" --listen-client-urls "$address" 2>"$work/serve.log" &
    server=$!
    in_time "kv serve is not ready" grep -q "ready to serve client requests" "$work/serve.log" 2>/dev/null
}

# start_etcd DIRECTORY: starts the program $etcd on $address and waits until it is ready.
start_etcd() {
    local peer
    address=http://127.0.0.1:$(free_port) peer=http://127.0.0.1:$(free_port)
    : >"$work/etcd.log"
    "$etcd" --data-dir "$1" --listen-client-urls "$address" --advertise-client-urls "$address" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
        2>"$work/etcd.log" &
    server=$!
    in_time "etcd is not ready" grep -q "ready to serve client requests" "$work/etcd.log" 2>/dev/null
}
