#!/bin/sh
# clean_archive.sh ARCHIVE: leaves only the kv_ symbols visible in a static library.
#
# The archive that cargo builds also exports LMDB's mdb_ functions: a program that links it and
# -lmdb would silently use the LMDB inside libkv. This script combines all members to one object, in
# which every other name is local. It removes the bitcode for link-time optimisation, because ar
# fails on it if binutils has an older LLVM plugin.
set -e
archive=$1
foreign() {
    nm --defined-only --extern-only "$1" 2>/dev/null | awk 'NF == 3 && $3 !~ /^kv_/' | wc -l
}
[ "$(foreign "$archive")" -eq 0 ] && exit 0
work=$(mktemp -d "$(dirname "$archive")/clean.XXXXXX")
trap 'rm -rf "$work"' EXIT
ld -r --force-group-allocation --whole-archive "$archive" -o "$work/all.o"
objcopy --wildcard --keep-global-symbol='kv_*' -R .llvmbc -R .llvmcmd "$work/all.o" "$work/kv.o"
ar rcs "$work/libkv.a" "$work/kv.o"
mv "$work/libkv.a" "$archive"
left=$(foreign "$archive")
if [ "$left" -ne 0 ]; then
    echo "$archive still exports $left names without kv_" >&2
    exit 1
fi
