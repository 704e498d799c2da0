# make            the libraries and the program kv, release: target/release/libkv.so, libkv.a and kv; the C programs
# make bindings   the packages for Python (in target/venv) and Node (bindings/node/libkv.node)
# make demo       a real tree of files (DEMO_DIR, default /etc) through C, Python and Node; a live system; the network; snapshots
# make test       every suite; the last line is "N passed, N failed"
# make bench      speeds beside raw LMDB, py-lmdb and lmdb-js, and of kv serve beside etcd
# make install    header, libraries, pkg-config and CMake files, kv with its manual under $(DESTDIR)$(PREFIX)
# make plain      libkv.so without etcd's protocol, small and without network code: target/plain/small/libkv.so
# make clean

PREFIX   = /usr/local
DESTDIR  =
DEMO_DIR = /etc
CC       = cc
CARGO    = cargo
CFLAGS   = -O2 -g
WARNINGS = -std=c99 -Wall -Wextra -pedantic -Werror
PYTHON   = python3

# Everything is built in this folder, even if the environment sets another one.
export CARGO_TARGET_DIR = $(CURDIR)/target
export CC CARGO DEMO_DIR PYTHON

RELEASE  = target/release
BUILD_C  = $(CC) $(WARNINGS) $(CFLAGS) -Iinclude
LINK_C   = -L$(RELEASE) -lkv -Wl,-rpath,'$$ORIGIN/../release'

C_PROGRAMS    = $(patsubst tests/c/%.c,target/c/%,$(wildcard tests/c/*.c)) target/c/driver target/c/follower
DEMO_SHARED   = $(addprefix tests/demo/,common.c common.h store.c store.h)
DEMO_PROGRAMS = $(addprefix target/demo-bin/,copy change import read query live served)

.PHONY: all lib plain programs bindings demo test bench install clean tools

all: lib programs

tools:
	@tests/tools.sh

# One invocation, so that the common crates are built once. cargo decides what is out of date.
# Its libkv.a also exports LMDB's symbols: tests/clean_archive.sh. PYO3_BUILD_EXTENSION_MODULE: the
# interpreter that loads the module has Python's symbols, so the module is not linked to libpython.
lib: tools
	PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON="$(PYTHON)" $(CARGO) build --release --locked \
		-p libkv-ffi -p libkv-cli -p libkv-python -p libkv-node \
		--features libkv-ffi/etcd,libkv-python/etcd,libkv-node/etcd
	ln -sf libkv.so $(RELEASE)/libkv.so.0
	@CC="$(CC)" tests/clean_archive.sh $(RELEASE)/libkv.a

# In a folder of its own, so that neither build invalidates the other.
plain: tools
	CARGO_TARGET_DIR="$(CURDIR)/target/plain" $(CARGO) build --profile small --locked -p libkv-ffi
	ln -sf libkv.so target/plain/small/libkv.so.0

programs: $(C_PROGRAMS) $(DEMO_PROGRAMS)

target/c/%: tests/c/%.c $(wildcard tests/c/*.h) include/kv.h | lib
	@mkdir -p target/c
	$(BUILD_C) -o $@ $< $(LINK_C) -lpthread

target/c/%: tests/conformance/drivers/%.c include/kv.h | lib
	@mkdir -p target/c
	$(BUILD_C) -o $@ $< $(LINK_C) -lpthread

target/demo-bin/%: tests/demo/%.c $(DEMO_SHARED) include/kv.h | lib
	@mkdir -p target/demo-bin
	$(BUILD_C) -o $@ $< $(filter %.c,$(DEMO_SHARED)) $(LINK_C)

bindings: lib
	bindings/python/venv.sh
	bindings/node/build.sh --built

demo: $(DEMO_PROGRAMS) bindings
	tests/demo/run.sh "$$DEMO_DIR"

test: all plain bindings
	tests/run.sh

bench: bindings
	npm install --prefix target/bench-peers --no-save --no-audit --no-fund --loglevel=error lmdb@3.5.6
	$(CARGO) run --release --locked -p libkv-bench

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DEST    = $(DESTDIR)$(PREFIX)
FILLED  = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|'

install: lib
	install -d $(DEST)/include $(DEST)/lib/pkgconfig $(DEST)/lib/cmake/kv $(DEST)/share/doc/libkv
	install -m 644 include/kv.h $(DEST)/include/kv.h
	install -m 755 $(RELEASE)/libkv.so $(DEST)/lib/libkv.so.$(VERSION)
	ln -sf libkv.so.$(VERSION) $(DEST)/lib/libkv.so.0
	ln -sf libkv.so.0 $(DEST)/lib/libkv.so
	install -m 644 $(RELEASE)/libkv.a $(DEST)/lib/libkv.a
	$(FILLED) ffi/install/libkv.pc.in >$(DEST)/lib/pkgconfig/libkv.pc
	install -m 644 ffi/install/kv-config.cmake $(DEST)/lib/cmake/kv/kv-config.cmake
	$(FILLED) ffi/install/kv-config-version.cmake.in >$(DEST)/lib/cmake/kv/kv-config-version.cmake
	install -d $(DEST)/bin $(DEST)/share/man/man1 $(DEST)/share/bash-completion/completions
	install -d $(DEST)/share/zsh/site-functions $(DEST)/share/fish/vendor_completions.d
	install -m 755 $(RELEASE)/kv $(DEST)/bin/kv
	$(RELEASE)/kv man --dir $(DEST)/share/man/man1
	$(RELEASE)/kv completions bash >$(DEST)/share/bash-completion/completions/kv
	$(RELEASE)/kv completions zsh >$(DEST)/share/zsh/site-functions/_kv
	$(RELEASE)/kv completions fish >$(DEST)/share/fish/vendor_completions.d/kv.fish
	install -m 644 LICENSE-MIT LICENSE-APACHE LICENSE-LMDB $(DEST)/share/doc/libkv

clean:
	rm -rf target
