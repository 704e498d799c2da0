#!/bin/bash
# go.sh SECONDS NAME PACKAGE: builds a program of the Go module in tests (go.mod) and prints its
# path, target/go/NAME. It ends with 1 if Go is missing, a module cannot be fetched or the time is
# over; the reason is the last line on standard error. Modules and compiled packages stay in Go's
# caches, so the next run continues there.
set -u -o pipefail
cd "$(dirname "$0")" || exit
seconds=$1 program=${CARGO_TARGET_DIR:-$PWD/../target}/go/$2 package=$3
command -v go >/dev/null || { echo "go is not installed" >&2; exit 1; }
mkdir -p "$(dirname "$program")" || exit 1
# use the installed Go; do not fetch another one
GOTOOLCHAIN=local timeout --kill-after=10 "$seconds" go build -buildvcs=false -o "$program" "$package" >&2
case $? in
0) realpath "$program" ;;
124 | 137) echo "the build was not done in $seconds s; the next run continues it" >&2; exit 1 ;;
*) exit 1 ;;
esac
