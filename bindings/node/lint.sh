#!/bin/bash
# Format, lint and types of the Node package: index.d.ts, and a program that makes every call.
set -eu
cd "$(dirname "$0")" || exit
[ -x node_modules/.bin/tsc ] && [ -x node_modules/.bin/biome ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node_modules/.bin/biome check --error-on-warnings .
biome=$PWD/node_modules/.bin/biome
(cd ../../tests/conformance/drivers && "$biome" check --config-path="$OLDPWD" --error-on-warnings .)
node_modules/.bin/tsc -p test/tsconfig.json
