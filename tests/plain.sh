#!/bin/bash
# Tests libkv.so without etcd's protocol (`make plain`): it is small, has no network code, and
# refuses a cluster with a clear error. Prints both sizes. The last line is "N passed, N failed".
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
cargo=${CARGO:-cargo}
plain=target/plain/small/libkv.so full=target/release/libkv.so
# The maximum size of libkv.so without the network, in bytes. The aim is 600,000. 264,000 are in any
# library of a stable Rust compiler, most of them to print the stack of a panic.
MOST=1100000
passed=0
failed=0

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

size() { stat -c %s "$1"; }
echo "libkv.so has $(size $plain) bytes without etcd's protocol, $(size $full) with it"
check "libkv.so without the network stays under $MOST bytes" [ "$(size $plain)" -lt $MOST ]

# has FILE PATTERN: whether the file contains a match. Panics put the names of source files into it.
has() { grep -aqE "$2" "$1"; }
has_not() { ! has "$@"; }
network='tokio|hyper-|rustls|tonic|etcdserverpb'
check "libkv.so with the network has $network" has $full "$network"
check "libkv.so without it has none of them" has_not $plain "$network"
calls_none() { ! nm -D --undefined-only "$1" | grep -wE 'getaddrinfo|connect|listen|accept4?|bind'; }
check "libkv.so without it calls no function of the network" calls_none $plain
depends() { "$cargo" tree --locked --offline --quiet -p "$1" -e normal --prefix none "${@:2}" 2>/dev/null | grep -cE '^(tokio|hyper|tonic|rustls|axum) '; }
for crate in libkv libkv-ffi libkv-python libkv-node; do
    check "$crate needs no crate of the network" [ "$(depends $crate)" -eq 0 ]
done
check "libkv-ffi with etcd does" [ "$(depends libkv-ffi --features etcd)" -gt 0 ]
refuses() { LD_LIBRARY_PATH=target/plain/small target/c/plain; }
check "a cluster and a server are refused with a clear error" refuses
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
