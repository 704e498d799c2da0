#!/bin/sh
# Prints the tools that are missing to build libkv, with the required versions.
cargo=${CARGO:-cargo}
missing=0

report() {
    echo "missing: $1" >&2
    missing=1
}

version=$("$cargo" --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/')
if [ -z "$version" ]; then
    report "cargo 1.88 or later, from https://rustup.rs (Debian 12's own is too old)"
else
    minor=$(echo "$version" | cut -d. -f2)
    if [ "${version%%.*}" -eq 1 ] && [ "$minor" -lt 88 ]; then
        report "cargo 1.88 or later: this is $version; rustup update (Debian 12's own is too old)"
    fi
fi
for tool in ${CC:-cc} ld ar objcopy nm; do
    command -v "$tool" >/dev/null || report "$tool: install build-essential"
done
python=${PYTHON:-python3}
"$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    report "$python 3.11 or later with venv: install python3-venv (PYTHON=… names another interpreter)"
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 17) ? 0 : 1)' 2>/dev/null ||
    report "node 20.17 or later (Debian 12's own is too old)"
command -v npm >/dev/null || report "npm: it comes with node"
exit $missing
