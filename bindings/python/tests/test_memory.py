"""100,000 calls of each kind do not increase the memory of the process.

Memory is the private memory of the process, from /proc/self/smaps_rollup. Pages of the store's
files do not count. Each kind runs WARM_UP calls first, then CALLS. The second part must add less
than ALLOWANCE_KB, because the allocators of Python and C keep some free memory. If each call
leaked one object of 16 bytes, that would be 1,600 kB.
"""

import asyncio
import contextlib
import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libkv
import libkv.aio
import pytest

CALLS = 100_000
WARM_UP = 20_000
ALLOWANCE_KB = 1_000


def private_kb() -> int:
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise AssertionError("no Private_Dirty")


def leaks(call: Callable[[], Any], calls: int = CALLS) -> None:
    for _ in range(calls * WARM_UP // CALLS):
        call()
    before = private_kb()
    for _ in range(calls):
        call()
    grown = private_kb() - before
    assert grown < ALLOWANCE_KB, f"{grown} kB more after {calls} calls"


def refused(call: Callable[[], Any]) -> Callable[[], None]:
    def expect() -> None:
        with contextlib.suppress(libkv.Error, TypeError, ValueError, OverflowError):
            call()
            raise AssertionError("not refused")

    return expect


@pytest.fixture
def db() -> Any:
    with libkv.open(":memory:", durability="none") as db:
        db.txn(success=[libkv.Put(f"k{number:03}", bytes(100)) for number in range(100)])
        yield db


def test_memory_of_reads(db: libkv.Db) -> None:
    buffer = bytearray(200)
    snapshot = db.snapshot()
    leaks(lambda: db.get("k001"))
    leaks(lambda: db.get("none"))
    leaks(lambda: db.get(b"k001", revision=2))
    leaks(lambda: db.get_into("k001", buffer))
    leaks(lambda: db.range(start="k010", limit=2))
    leaks(lambda: list(db.range(start="k010", limit=2).kvs))
    leaks(lambda: db.range("k010")[0])
    leaks(lambda: next(db.scan(prefix="k01", limit=2)))
    leaks(lambda: snapshot.get("k001"))
    leaks(lambda: db.snapshot(2).range("k001", keys_only=True))
    leaks(lambda: db.history("k001", limit=1))
    leaks(lambda: next(db.events(1, 0, "k001")))
    leaks(lambda: next(db.diff(1, 0, "k001")))
    leaks(db.status)


def test_memory_of_many_pairs(db: libkv.Db) -> None:
    leaks(lambda: list(db.range().kvs), CALLS // 100)
    leaks(lambda: list(db.scan()), CALLS // 100)
    leaks(lambda: db.range().kvs == list(db.range().kvs), CALLS // 100)


def test_memory_of_values() -> None:
    leaks(lambda: libkv.Put("k", bytearray(100), lease=7, prev_kv=True))
    leaks(lambda: repr(libkv.Range(prefix="k", limit=3)))
    leaks(lambda: libkv.Txn(compare=[libkv.Compare.value("k", "==", "v")], success=[libkv.Put("k"), libkv.Delete("l")]))
    leaks(lambda: libkv.Put("k") == libkv.Put("k"))
    with libkv.open(":memory:") as db:
        kv = db.put("k", "v") and db.get("k")
        leaks(lambda: (repr(kv), hash(kv), kv == kv))  # noqa: PLR0124 - the operator itself


def test_memory_of_refusals(db: libkv.Db) -> None:
    handle: Any = db
    leaks(refused(lambda: db.get("k", revision=99)), CALLS // 2)
    leaks(refused(lambda: db.put("", "v")), CALLS // 2)
    leaks(refused(lambda: handle.put(None, "v")), CALLS // 2)
    leaks(refused(lambda: handle.get(5)), CALLS // 2)
    leaks(refused(lambda: db.get("k", revision=1 << 70)), CALLS // 2)
    leaks(refused(lambda: db.get(memoryview(b"abcd")[::2])), CALLS // 2)
    leaks(refused(lambda: handle.range(prefx="k")), CALLS // 20)
    leaks(refused(lambda: pickle.dumps(db)), CALLS // 2)
    leaks(refused(lambda: libkv.open("/none", create=False)), CALLS // 20)


def test_memory_of_writes() -> None:
    """The store is compacted meanwhile, because its history is not a leak."""
    with libkv.open(":memory:", durability="none") as db:
        calls = 0

        def write() -> None:
            nonlocal calls
            calls += 1
            db.put("k", "value", prev_kv=True)
            if calls % 5_000 == 0:
                db.compact(db.status().revision, physical=True)

        leaks(write)
        leaks(lambda: db.delete("none", prev_kv=True))
        leaks(lambda: db.txn(success=[libkv.Range("k")]))
        leaks(lambda: db.transact(lambda t: t.get("k")))
        leaks(lambda: db.transact(lambda t: t.range(prefix="k").count))


def test_memory_of_watchers_and_leases() -> None:
    with libkv.open(":memory:", durability="none") as db:
        watcher, calls = db.watch("k"), 0

        def follow() -> None:
            nonlocal calls
            calls += 1
            db.put("k", "value")
            next(watcher)
            if calls % 1_000 == 0:
                db.compact(db.status().revision, physical=True)

        def lease() -> None:
            made = db.lease(60)
            made.on_lost(lambda: made.id)
            made.close()

        def lock() -> None:
            with db.lock("name", 60):
                pass
            if db.status().revision % 500 == 0:
                db.compact(db.status().revision, physical=True)

        leaks(follow, CALLS // 5)
        leaks(lambda: watcher.next(0))
        leaks(lambda: watcher.next(0.000001), CALLS // 10)
        leaks(db.watch, CALLS // 5)
        leaks(refused(lambda: db.watch(start="b", end="a")), CALLS // 20)
        leaks(lambda: db.lease_revoke(db.lease_grant(60).id), CALLS // 10)
        leaks(lease, CALLS // 20)
        leaks(lock, CALLS // 40)
        leaks(lambda: db.election("name", 60).observe().try_next(), CALLS // 20)
        leaks(lambda: db.lease_time_to_live(7), CALLS // 5)


def test_memory_of_opening_and_closing() -> None:
    def use() -> None:
        with libkv.open(":memory:") as db:
            db.put("k", "v")
            db.get("k")

    leaks(use, 500)


def test_memory_of_aio() -> None:
    async def work(db: libkv.aio.Db, calls: int) -> None:
        for _ in range(calls // 100):
            await asyncio.gather(*(db.put("k", "value") for _ in range(100)))
            await db.compact((await db.status()).revision, physical=True)
            cancelled = [asyncio.ensure_future(db.put("k")) for _ in range(10)]
            await asyncio.sleep(0)
            for write in cancelled:
                write.cancel()
            await asyncio.gather(*cancelled, return_exceptions=True)
            await db.get("k")
            async for _ in db.scan():
                pass

    with libkv.open(":memory:", durability="none") as db, asyncio.Runner() as runner:
        runner.run(work(libkv.aio.Db(db), WARM_UP))
        before = private_kb()
        runner.run(work(libkv.aio.Db(db), CALLS))
        grown = private_kb() - before
        assert grown < ALLOWANCE_KB, f"{grown} kB more"


def test_memory_of_aio_watchers_and_locks() -> None:
    async def work(db: libkv.aio.Db, calls: int) -> None:
        watcher = db.watch("k")
        for number in range(calls):
            waiting = asyncio.ensure_future(watcher.next())
            given_up = asyncio.ensure_future(db.watch().next())
            await db.put("k")
            await waiting
            given_up.cancel()
            lease = await db.lease(60)
            lease.on_lost(lambda: None)
            await lease.close()
            async with db.lock("name", 60):
                other = asyncio.ensure_future(db.lock("name", 60).acquire())
                await asyncio.sleep(0)
                other.cancel()
            await asyncio.gather(given_up, other, return_exceptions=True)
            if number % 100 == 99:  # not beyond the position of the watcher
                await db.compact(watcher.resume_revision - 1, physical=True)

    with libkv.open(":memory:", durability="none") as db, asyncio.Runner() as runner:
        runner.run(work(libkv.aio.Db(db), 400))
        before = private_kb()
        runner.run(work(libkv.aio.Db(db), 2_000))
        grown = private_kb() - before
        assert grown < ALLOWANCE_KB, f"{grown} kB more"
