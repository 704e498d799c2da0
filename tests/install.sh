#!/bin/bash
# Tests `make install`: a program can be built and run with the installed files, with pkg-config and
# with CMake, shared and static. Both libraries export only kv_ symbols.
set -u
cd "$(dirname "$0")/.." || exit
cc=${CC:-cc}
work=$(mktemp -d "${TMPDIR:-/tmp}/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
passed=0
failed=0

check() {
    local what=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "failed: $what"
        sed 's/^/    /' "$work/log"
        failed=$((failed + 1))
    fi
}

# prints COMMAND…: whether it runs and prints the output of the example in the README.
awk '$0 == "```" && on { exit } on { print } $0 == "```text" { on = 1 }' README.md >"$work/expected"
prints() {
    "$@" >"$work/printed" && diff "$work/expected" "$work/printed"
}

check "make install" make --no-print-directory install PREFIX="$prefix"
check "make install into DESTDIR" make --no-print-directory install DESTDIR="$work/stage" PREFIX=/usr
check "DESTDIR has the same files" diff <(cd "$prefix" && find . | sort) <(cd "$work/stage/usr" && find . | sort)
check "DESTDIR is not in libkv.pc" grep -qx 'prefix=/usr' "$work/stage/usr/lib/pkgconfig/libkv.pc"

only_kv() {
    nm "$@" | awk 'NF == 3 { if ($3 ~ /^kv_/) ours++; else { print; bad = 1 } } END { exit bad || !ours }'
}
check "libkv.so exports kv_ symbols only" only_kv -D --defined-only "$prefix/lib/libkv.so"
check "libkv.a exports kv_ symbols only" only_kv --defined-only --extern-only "$prefix/lib/libkv.a"
check "the soname is libkv.so.0" sh -c "objdump -p '$prefix/lib/libkv.so' | grep -q 'SONAME *libkv.so.0\$'"
check "libkv.so links to libkv.so.0" test "$(readlink "$prefix/lib/libkv.so")" = libkv.so.0
check "libkv.so.0 links to a file" test -f "$prefix/lib/libkv.so.0"

kv=$prefix/bin/kv
check "kv runs" sh -c "'$kv' --store '$work/store' put greeting hello && '$kv' --store '$work/store' get greeting | grep -q hello"
only_glibc() {
    objdump -p "$1" | awk '$1 == "NEEDED" && $2 !~ /^(lib(c|m|dl|rt|pthread)\.so\.[0-9]+|ld-linux-[^ ]*)$/ { print; bad = 1 }
                           $1 == "NEEDED" { any = 1 } END { exit bad || !any }'
}
check "kv needs no shared library but glibc's" only_glibc "$kv"
check "kv has a manual page" grep -q '^\.TH kv 1' "$prefix/share/man/man1/kv.1"
check "bash completes kv" bash -c "source '$prefix/share/bash-completion/completions/kv' && complete -p kv"
check "zsh and fish have completions of kv" sh -c \
    "grep -q '#compdef kv' '$prefix/share/zsh/site-functions/_kv' && grep -q 'complete -c kv' '$prefix/share/fish/vendor_completions.d/kv.fish'"

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    check "builds with pkg-config" sh -c \
        "$cc -std=c99 -o '$work/shared' tests/c/example.c \$(pkg-config --cflags --libs libkv)"
    check "runs" prints env LD_LIBRARY_PATH="$prefix/lib" "$work/shared"
    check "the program uses the shared library" sh -c "objdump -p '$work/shared' | grep -q 'NEEDED *libkv.so.0\$'"
    check "builds statically with pkg-config" sh -c \
        "$cc -std=c99 -o '$work/static' tests/c/example.c \$(pkg-config --cflags libkv) -Wl,-Bstatic \
         -L'$prefix/lib' -lkv -Wl,-Bdynamic \$(pkg-config --static --libs-only-l libkv | sed 's/-lkv//')"
    check "runs without the shared library" prints "$work/static"
else
    echo "not run: building against libkv.pc (no pkg-config)"
fi

if command -v cmake >/dev/null; then
    mkdir "$work/cmake"
    cp tests/c/example.c "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.13)
project(example C)
find_package(kv 0.1 CONFIG REQUIRED)
add_executable(shared example.c)
target_link_libraries(shared kv::kv)
add_executable(static example.c)
target_link_libraries(static kv::kv_static)
EOF
    check "configures with CMake" cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$prefix"
    check "builds with CMake" cmake --build "$work/cmake/build"
    check "runs, shared, by CMake" prints "$work/cmake/build/shared"
    check "runs, static, by CMake" prints "$work/cmake/build/static"
else
    echo "not run: building with find_package(kv) (no cmake)"
fi

echo '#include <kv.h>' >"$work/header.c"
echo '#include <kv.h>' >>"$work/header.c"
for standard in c99 c11 c17; do
    check "the header is clean as $standard" $cc -std=$standard -Wall -Wextra -pedantic -Wstrict-prototypes -Wconversion \
        -Wc++-compat -Werror -I"$prefix/include" -c -o "$work/header.o" "$work/header.c"
done
if command -v "${CXX:-c++}" >/dev/null; then
    for standard in c++11 c++17 c++20; do
        check "the header is clean as $standard" "${CXX:-c++}" -x c++ -std=$standard -Wall -Wextra -pedantic -Werror \
            -I"$prefix/include" -c -o "$work/header.o" "$work/header.c"
    done
else
    echo "not run: the header as C++ (no c++)"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
