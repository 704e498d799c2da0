"""Compares libkv with py-lmdb: the rows `py_get` and `py_range`, in alternating rounds.

bench.py FOLDER ROUNDS SCALE. Prints what tests/bench/src/peers.rs reads: a line `row` with tabs
between its fields, then a line `round OURS REFERENCE` for each round, in nanoseconds an operation.
"""

import hashlib
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libkv
import lmdb

KEYS = 100_000
VALUE = b"v" * 100


def key(number: int) -> bytes:
    """16 bytes in hashed order."""
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def row(name: str, reference: str, reach: float, n: int, note: str) -> None:
    print("row", name, reference, reach, n, len(VALUE), note, sep="\t")


def rounds(count: int, n: int, ours: Callable[[], None], theirs: Callable[[], None]) -> None:
    def timed(work: Callable[[], None]) -> float:
        began = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - began) / n

    for at in range(count + 1):  # the first round is not counted
        if at % 2:
            first = timed(theirs)
            both = timed(ours), first
        else:
            both = timed(ours), timed(theirs)
        if at:
            print("round", *both, sep="\t", flush=True)


def main() -> None:
    folder, count, scale = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    keys = [key(number) for number in range(KEYS)]
    db = libkv.open(folder / "py.kv", durability="none")
    env = lmdb.open(str(folder / "py.raw"), map_size=1 << 30, sync=False, max_dbs=1)
    tree = env.open_db(b"tree")
    for at in range(0, KEYS, 10_000):
        db.txn(success=[libkv.Put(k, VALUE) for k in keys[at : at + 10_000]])
        with env.begin(write=True) as txn:
            for k in keys[at : at + 10_000]:
                txn.put(k, VALUE, db=tree)
    n = 100_000 * scale
    drawn = random.Random(1).choices(keys, k=n)

    def our_gets() -> None:
        for k in drawn:
            kv = db.get(k)
            assert kv is not None and len(kv.value) == 100

    def their_gets() -> None:
        for k in drawn:
            with env.begin() as txn:
                value = txn.get(k, db=tree)
                assert value is not None and len(value) == 100

    row("py_get", "py-lmdb: begin, get", 1.0, n, "100,000 keys; reads the length of the value")
    rounds(count, n, our_gets, their_gets)

    pairs, repeats = 1_000, 50 * scale
    ordered = sorted(keys)
    starts = random.Random(2).choices(range(KEYS - pairs), k=repeats)

    def our_ranges() -> None:
        for start in starts:
            seen = 0
            for kv in db.range(start=ordered[start], end=ordered[start + pairs]).kvs:
                seen += len(kv.key) + len(kv.value)
            assert seen == 116 * pairs

    def their_ranges() -> None:
        for start in starts:
            seen = left = 0
            with env.begin() as txn, txn.cursor(db=tree) as cursor:
                cursor.set_range(ordered[start])
                for k, value in cursor:
                    seen += len(k) + len(value)
                    left += 1
                    if left == pairs:
                        break
            assert seen == 116 * pairs

    row("py_range", "py-lmdb: cursor", 0.7, pairs * repeats, "1,000 pairs; reads key and value of each")
    rounds(count, pairs * repeats, our_ranges, their_ranges)


main()
