#!/bin/bash
# Style and types of the Python package: ruff, mypy --strict, and the stubs against the module.
set -eu
cd "$(dirname "$0")" || exit
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}
./venv.sh
export PATH=$CARGO_TARGET_DIR/venv/bin:$PATH MYPY_CACHE_DIR=$CARGO_TARGET_DIR/mypy RUFF_CACHE_DIR=$CARGO_TARGET_DIR/ruff
drivers=../../tests/conformance/drivers
ruff check . $drivers
ruff format --check . $drivers
mypy python/libkv tests examples $drivers
python -m mypy.stubtest libkv --allowlist tests/stubtest_allowlist.txt
