#!/bin/bash
# Makes target/venv: Python with the pinned tools and with libkv as it stands in this tree. Done in
# milliseconds when nothing has changed. PYTHON names the interpreter (python3), 3.11 or later.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
python=${PYTHON:-python3}
venv=$CARGO_TARGET_DIR/venv
tools=$venv/.tools built=$venv/.libkv

# newer FILE THAN...: whether any of these files, or of what is in these folders, is newer
newer() {
    local stamp=$1
    shift
    [ ! -e "$stamp" ] || [ -n "$(find "$@" -type f ! -name '*.pyc' -newer "$stamp" -print -quit)" ]
}

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "$python is older than 3.11 (PYTHON=… names another)" >&2
        exit 1
    }
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        echo "no virtual environment can be made: on Debian and Ubuntu install the package python3-venv" >&2
        exit 1
    }
fi
export PATH=$venv/bin:$PATH
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
if newer "$tools" bindings/python/requirements.txt; then
    "${pip[@]}" install --requirement bindings/python/requirements.txt
    touch "$tools"
fi
if newer "$built" core/src core/Cargo.toml Cargo.toml Cargo.lock \
    bindings/python/{src,python,Cargo.toml,pyproject.toml,README.md}; then
    began=$(mktemp)
    "${pip[@]}" install --no-build-isolation --no-deps --force-reinstall ./bindings/python
    mv "$began" "$built" # what changed while it was built is built again
fi
