#!/bin/bash
# Creates target/venv: Python with the pinned tools and with libkv as built from this tree. Takes
# milliseconds if nothing has changed. PYTHON is the interpreter (python3), 3.11 or later.
set -eu -o pipefail
cd "$(dirname "$0")/../.." || exit
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
python=${PYTHON:-python3}
venv=$CARGO_TARGET_DIR/venv
tools=$venv/.tools built=$venv/.libkv

# newer FILE OTHER...: whether one of the others, or a file in one of the folders, is newer
newer() {
    local stamp=$1
    shift
    [ ! -e "$stamp" ] || [ -n "$(find "$@" -type f ! -name '*.pyc' -newer "$stamp" -print -quit)" ]
}

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "$python is older than 3.11 (set PYTHON to another)" >&2
        exit 1
    }
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        echo "cannot create a virtual environment: on Debian and Ubuntu install the package python3-venv" >&2
        exit 1
    }
fi
export PATH=$venv/bin:$PATH
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
if newer "$tools" bindings/python/requirements.txt; then
    "${pip[@]}" install --requirement bindings/python/requirements.txt
    touch "$tools"
fi
if newer "$built" core/src core/Cargo.toml Cargo.toml Cargo.lock bindings/etcd/src bindings/etcd/Cargo.toml \
    bindings/python/{src,python,Cargo.toml,pyproject.toml,README.md}; then
    began=$(mktemp)
    # the same package as from `pip install ./bindings/python`, but with the module built by make
    make --no-print-directory --silent lib
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd bindings/python && maturin pep517 write-dist-info --metadata-directory "$work/wheel" >/dev/null)
    cp -r bindings/python/python/libkv "$work/wheel/libkv"
    find "$work/wheel" -name __pycache__ -prune -exec rm -rf {} +
    cp "$CARGO_TARGET_DIR/release/lib_libkv.so" "$work/wheel/libkv/_libkv.abi3.so"
    python -m wheel pack --dest-dir "$work" "$work/wheel" >/dev/null
    "${pip[@]}" install --no-deps --force-reinstall "$work"/*.whl
    mv "$began" "$built" # a file that changed during the build causes another build
fi
