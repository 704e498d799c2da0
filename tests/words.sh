#!/bin/bash
# words.sh: finds words that this project does not use in its texts, and prints where they are.
#
# The texts are plain technical English: short sentences, the subject first, the standard term of
# the field. A text that was rewritten is listed below and stays clean; a new file belongs in the
# list.
set -u
cd "$(dirname "$0")/.." || exit

texts=(
    README.md
    core/DESIGN.md
    core/src/*.rs core/src/recipe/*.rs core/src/embedded/*.rs core/src/embedded/*/*.rs
    core/tests/serde.rs
    bindings/vocabulary/vocabulary.toml bindings/vocabulary/src/*.rs
    ffi/src/*.rs ffi/cbindgen.toml include/kv.h
    bindings/cli/src/*.rs bindings/cli/src/command/*.rs
    bindings/etcd/build.rs bindings/etcd/proto/*.proto bindings/etcd/src/*.rs
    bindings/etcd/src/client/*.rs bindings/etcd/src/server/*.rs bindings/etcd/src/server/*/*.rs
    bindings/etcd/README.md bindings/cli/README.md bindings/python/README.md bindings/node/README.md
    bindings/python/src/*.rs bindings/python/python/libkv/*.py* bindings/python/examples/*.py
    bindings/node/src/*.rs bindings/node/lib/*.js bindings/node/*.js bindings/node/*.mjs bindings/node/*.d.ts
    bindings/node/examples/*.js
    tests/README.md tests/conformance/README.md
    core/tests/*.rs core/tests/programs/*
    tests/support/src/*.rs tests/conformance/src/*.rs tests/conformance/src/*/*.rs tests/conformance/tests/*.rs
    tests/conformance/drivers/*.c tests/conformance/drivers/*.js tests/c/*
    bindings/node/test/*.js bindings/etcd/tests/gateway.rs bindings/etcd/tests/gateway_abuse.rs
)
# word -> what to write instead
words=(
    'answer(s|ed|ing)?:return'
    'whoever:a process that, a caller that'
    'somebody|nobody|anybody|everybody:name the process, thread or caller'
    'anew:again'
    'for ever:without limit, until …'
    '(is|are|be) told:is notified'
    'of itself:leave it out'
    'hangs? on|hang:is attached to'
    'to be had:available'
    'in hand:manual'
    'laid|lays:initialised'
    'bury|buried|unbury:delete'
    'so many|so long:a number of, N'
    'pulse|bell:background thread, commit signal'
)

# names in code that are not words of a text
identifiers='wrong_answer|\bAnswer\b|\banswer(::|[.,;)]|\()|\(answer|let answer'

failed=0
for entry in "${words[@]}"; do
    if found=$(grep -nwiE "(${entry%%:*})" "${texts[@]}" | grep -vE "$identifiers"); then
        printf '%s\n' "$found" "    instead of ${entry%%:*}: ${entry#*:}"
        failed=1
    fi
done
exit $failed
