#!/bin/bash
# fetch_etcd37.sh: prints where a real etcd 3.7 is, with etcdctl and etcdutl beside it. They are built from their Go
# modules, all modules in the versions of go.mod. The script ends with 1 if they cannot be built; the reason is the
# last line on standard error.
set -u -o pipefail
cd "$(dirname "$0")" || exit
./go.sh 300 etcdctl go.etcd.io/etcd/etcdctl/v3 >/dev/null &&
    ./go.sh 300 etcdutl go.etcd.io/etcd/etcdutl/v3 >/dev/null &&
    ./go.sh 300 etcd go.etcd.io/etcd/server/v3
