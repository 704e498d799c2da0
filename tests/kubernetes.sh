#!/bin/bash
# kubernetes.sh: runs an unmodified API server of Kubernetes (k8s.io/apiextensions-apiserver, built
# from its Go modules) on `kv serve`: lists, pages, watches, conflicts, compaction, restarts, and
# kill -9 of the store. The last line is "N passed, N failed". If it cannot be built, it prints a
# line "not run: kubernetes (why)" and ends with 77. KV names another program than
# target/release/kv; KV=etcd runs the same checks on a real etcd 3.7.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
target=${CARGO_TARGET_DIR:-$PWD/target}
kv=${KV:-$target/release/kv}
mkdir -p "$target"
work=$(mktemp -d "$target/kubernetes-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

cannot() {
    echo "not run: kubernetes ($(tail -n 1 "$work/why"))"
    exit 77
}

# build the API server first: the check shares its packages
apiserver=$(tests/go.sh 480 apiserver k8s.io/apiextensions-apiserver 2>"$work/why") || cannot
check=$(tests/go.sh 60 kubernetes ./kubernetes 2>"$work/why") || cannot
if [ "$kv" = etcd ]; then
    kv=$(tests/fetch_etcd37.sh 2>"$work/why") || cannot
fi
[ -x "$kv" ] || { echo "$kv is not built: run make"; echo "0 passed, 1 failed"; exit 1; }
timeout --kill-after=10 "${SECONDS_MAX:-300}" "$check" "$kv" "$apiserver" "$work"
status=$?
if [ $status -ne 0 ]; then
    logs=$target/kubernetes-logs
    rm -rf "$logs" && mkdir "$logs" && mv "$work"/*.log "$logs"
    echo "the logs of the store and of the API servers: $logs"
fi
[ $status -ne 124 ] || echo "the checks were not done in ${SECONDS_MAX:-300} s"
exit $status
