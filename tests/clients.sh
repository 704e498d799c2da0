#!/bin/bash
# clients.sh: runs unmodified clients of other projects, from the registries of their languages,
# against `kv serve` and against a real etcd: 3.7 for etcd's own client in Go, 3.5.1 for the others.
# KV names another program than target/release/kv. The last line is "N passed, N failed". A client
# that could not run has a line "not run: what (why)".
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
target=${CARGO_TARGET_DIR:-$PWD/target}
here=$PWD/tests/clients
dir=$target/clients
python=${PYTHON:-python3}
kv=${KV:-$target/release/kv}
passed=0
failed=0
server=
mkdir -p "$dir"
work=$(mktemp -d "$dir/work-XXXXXX") || exit 1
trap 'stop; rm -rf "$work"' EXIT

# Ends the server that this script started last.
stop() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    server=
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start WHICH: starts a server with an empty store on $port. Both log the same text when ready.
start() {
    local url limit=$((SECONDS + 60))
    rm -rf "$work/store" "$work/log"
    port=$(free_port) url=http://127.0.0.1:$port
    case $1 in
    kv) "$kv" serve "$work/store" --listen-client-urls "$url" 2>"$work/log" & ;;
    etcd)
        local peer
        peer=http://127.0.0.1:$(free_port)
        "$etcd" --data-dir "$work/store" --unsafe-no-fsync --heartbeat-interval 5 --election-timeout 50 \
            --listen-client-urls "$url" --advertise-client-urls "$url" --listen-peer-urls "$peer" \
            --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" 2>"$work/log" &
        ;;
    esac
    server=$!
    until grep -qs "ready to serve client requests" "$work/log"; do
        if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -gt $limit ]; then
            echo "$1 does not start: $(tail -n 3 "$work/log")"
            return 1
        fi
        sleep 0.05
    done
}

# check NAME COMMAND…: runs the script of a client against each of $servers.
check() {
    local name=$1 which line
    shift
    for which in $servers; do
        if ! start $which; then
            failed=$((failed + 1))
        else
            timeout --kill-after=5 120 "$@" 127.0.0.1 "$port" >"$work/output" 2>&1
            line=$(tail -n 1 "$work/output")
            if [[ $line =~ ^(.*:\ )?([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
                passed=$((passed + BASH_REMATCH[2])) failed=$((failed + BASH_REMATCH[3]))
                grep '^FAILED' "$work/output"
                echo "$name against $which: ${BASH_REMATCH[2]} checks, ${BASH_REMATCH[3]} of them failed"
            else
                cat "$work/output"
                echo "$name against $which: ended before its checks were complete"
                failed=$((failed + 1))
            fi
        fi
        stop
    done
}

# venv NAME REQUIREMENT…: creates an environment with these packages in $dir/NAME, once.
venv() {
    local place=$dir/$1
    shift
    [ "$(cat "$place/.made" 2>/dev/null)" = "$*" ] && return
    rm -rf "$place"
    "$python" -m venv "$place" && "$place/bin/python" -m pip --disable-pip-version-check --quiet install "$@" &&
        echo "$*" >"$place/.made"
}

[ -x "$kv" ] || { echo "$kv is not built: run make"; echo "0 passed, 1 failed"; exit 1; }
servers=kv
if etcd=$(tests/fetch_etcd.sh 2>"$work/why"); then
    servers="kv etcd"
else
    echo "not run: clients of other projects against a real etcd ($(tail -n 1 "$work/why"))"
fi

if venv python aetcd==1.0.0 etcd3gw==2.7.0 2>"$work/why"; then
    check aetcd "$dir/python/bin/python" "$here/aetcd_client.py"
    check etcd3gw "$dir/python/bin/python" "$here/etcd3gw_client.py"
else
    echo "not run: aetcd and etcd3gw ($(tail -n 1 "$work/why"))"
fi
# its stubs need an old version of protobuf
if venv etcd3 etcd3==0.12.0 'protobuf<3.21' 2>"$work/why"; then
    check "etcd3 in Python" "$dir/etcd3/bin/python" "$here/etcd3_client.py"
else
    echo "not run: etcd3 in Python ($(tail -n 1 "$work/why"))"
fi
if npm install --prefix "$dir/node" --no-save --no-audit --no-fund --loglevel=error etcd3@1.1.2 >"$work/why" 2>&1; then
    export NODE_PATH=$dir/node/node_modules
    check "etcd3 in Node" node "$here/etcd3_client.js"
else
    echo "not run: etcd3 in Node ($(tail -n 1 "$work/why"))"
fi
# its build script needs protoc, which Python's grpcio-tools includes
rust=$dir/rust/debug/etcd-client-check
build_rust() {
    venv protoc grpcio-tools==1.85.1 || return
    printf '#!/bin/sh\nexec "%s" -m grpc_tools.protoc "$@"\n' "$dir/protoc/bin/python" >"$dir/protoc/protoc"
    chmod +x "$dir/protoc/protoc"
    PROTOC=$dir/protoc/protoc CARGO_TARGET_DIR=$dir/rust "${CARGO:-cargo}" build --quiet --locked \
        --manifest-path "$here/etcd_client/Cargo.toml"
}
if build_rust 2>"$work/why"; then
    check etcd-client "$rust"
else
    echo "not run: etcd-client in Rust ($(tail -n 1 "$work/why"))"
fi
# etcd 3.5 has no RangeStream, so this client is compared with 3.7
servers=kv
if etcd=$(tests/fetch_etcd37.sh 2>"$work/why"); then
    servers="kv etcd"
else
    echo "not run: etcd's client in Go against a real etcd 3.7 ($(tail -n 1 "$work/why"))"
fi
if go=$(tests/go.sh 300 go_client ./clients/go_client 2>"$work/why"); then
    check "etcd's client in Go" "$go"
else
    echo "not run: etcd's client in Go ($(tail -n 1 "$work/why"))"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
