#!/bin/bash
# Builds the native part from source and copies it to the place from which lib/native.js loads it.
# Fast if nothing has changed. `npm install` in this folder runs it. It needs cargo 1.88 or later
# and downloads only crates. With --built it copies the module that `make` has built.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cargo=${CARGO:-cargo}
if ! command -v "$cargo" >/dev/null; then
    echo "libkv: the native part is built from source, and there is no $cargo on the PATH (Rust 1.88 or later)" >&2
    exit 1
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
if [ "${1:-}" != --built ]; then
    "$cargo" build --quiet --release --locked --features etcd --manifest-path "$here/Cargo.toml"
fi
built=$CARGO_TARGET_DIR/release/liblibkv_node.so
if ! cmp -s "$built" "$here/libkv.node"; then
    # renamed, so that a process that has loaded the old file keeps it unchanged
    cp "$built" "$here/libkv.node.$$"
    mv -f "$here/libkv.node.$$" "$here/libkv.node"
fi
