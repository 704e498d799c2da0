#!/bin/bash
# The types of Node's face: index.d.ts itself, and a program that makes every call.
set -eu
cd "$(dirname "$0")"
[ -x node_modules/.bin/tsc ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node_modules/.bin/tsc -p test/tsconfig.json
