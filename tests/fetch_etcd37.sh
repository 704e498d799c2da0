#!/bin/bash
# fetch_etcd37.sh: prints the path of a real etcd 3.7; etcdctl and etcdutl are in the same folder.
# They are built from their Go modules, in the versions of go.mod. If they cannot be built the
# script ends with 1, and the reason is the last line on standard error.
set -u -o pipefail
cd "$(dirname "$0")" || exit
./go.sh 300 etcdctl go.etcd.io/etcd/etcdctl/v3 >/dev/null &&
    ./go.sh 300 etcdutl go.etcd.io/etcd/etcdutl/v3 >/dev/null &&
    ./go.sh 300 etcd go.etcd.io/etcd/server/v3
