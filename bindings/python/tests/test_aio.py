"""libkv.aio on asyncio and uvloop: blocking, wake-ups and cancellation."""

import asyncio
import functools
import gc
import math
import os
import pickle
import select
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import libkv
import libkv.aio
import pytest
import uvloop
from conftest import Future, Holder
from libkv import _libkv
from libkv.aio import _mailbox

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


@pytest.fixture
def db(kv: libkv.Db) -> libkv.aio.Db:
    return libkv.aio.Db(kv)


def test_aio_has_every_name_of_libkv() -> None:
    for ours, theirs in (
        (libkv.aio.Db, libkv.Db),
        (libkv.aio.Snapshot, libkv.Snapshot),
        (libkv.aio.Transaction, libkv.Transaction),
        (libkv.aio.Watcher, libkv.Watcher),
        (libkv.aio.Leaders, libkv.Leaders),
        (libkv.aio.Lease, libkv.Lease),
        (libkv.aio.Lock, libkv.Lock),
        (libkv.aio.Election, libkv.Election),
        (libkv.aio.Server, libkv.Server),
    ):
        names = {name for name in dir(theirs) if not name.startswith("_")}
        assert {name for name in dir(ours) if not name.startswith("_")} == names
        for name in names:
            assert getattr(ours, name).__doc__, name


def test_names_belong_to_libkv_aio() -> None:
    for name in libkv.aio.__all__:
        found = getattr(libkv.aio, name)
        assert (found.__module__, found.__qualname__) == ("libkv.aio", name)
        assert pickle.loads(pickle.dumps(found)) is found


def test_store_from_open_to_close(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        async with libkv.aio.open(tmp_path / "s", durability="lazy") as db:
            assert (await db.put("a", "1")).revision == 2
            assert (
                await db.put(
                    libkv.Put("b", "2", prev_kv=True),
                )
            ).prev_kv is None
            found = await db.get("a")
            assert found is not None
            assert found.value == b"1"
            assert await db.get("a", revision=1) is None
            buffer = bytearray(4)
            assert await db.get_into("b", buffer) == 1
            assert len(await db.range(prefix="")) == 2
            assert [kv.key async for kv in db.scan()] == [b"a", b"b"]
            assert [event.type async for event in db.events(1)] == ["put", "put"]
            assert [change.key async for change in db.diff(1, 2)] == [b"a"]
            txn = await db.txn(compare=[libkv.Compare.version("a", "==", 1)], success=[libkv.Put("c")])
            assert txn.succeeded
            assert (await db.txn(libkv.Txn(success=[libkv.Range("c")]))).succeeded
            async with db.snapshot() as snapshot:
                assert (await db.delete(prefix="")).deleted == 3
                assert await snapshot.get("c")
                assert len(await snapshot.range()) == len([kv async for kv in snapshot.scan()]) == 3
            assert (await db.snapshot_at(2)).revision == 2
            assert len(await db.history("a")) == 2
            assert (await db.status()).keys == 0
            await db.put("a", "again")
            assert (await db.compact(6, physical=True)).revision == 6
            with pytest.raises(libkv.CompactedError):
                await db.compact(5)
            assert (await db.check()).problems == []
        assert db.closed
        assert "libkv.aio.Db" in repr(db)
        for call in (db.get("a"), db.put("a"), db.range(), db.status(), db.check(), db.transact(lambda t: t.get("a"))):
            with pytest.raises(libkv.ClosedError):
                await call
        await db.close()

    run(main())


def test_open_and_handles_are_awaited_or_entered(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        # entered directly
        async with libkv.aio.open(tmp_path / "s") as db:
            assert isinstance(db, libkv.aio.Db)
            await db.put("k", "v")
            async with db.lease(60) as lease, db.snapshot() as snapshot, db.snapshot_at(1) as before:
                assert await db.lease_list() == [lease.id]
                assert (snapshot.revision, before.revision) == (2, 1)
            assert await db.lease_list() == []
            with pytest.raises(libkv.ClosedError):
                await snapshot.get("k")
            async with libkv.aio.serve(db) as server:
                assert not server.closed
            assert server.closed
            async with db.lock("l", 10) as lock, db.watch() as watcher:
                assert lock.is_held
            assert not lock.is_held
            with pytest.raises(libkv.ClosedError):
                watcher.try_next()
            async with db.election("e", 60) as election:
                await election.campaign("me")
                assert election.is_leader
            assert not election.is_leader
            async with db.election("e", 60):
                pass
        assert db.closed
        # `async with await`, as in earlier versions
        async with await libkv.aio.open(tmp_path / "s") as db, await db.lease(60) as lease, await db.snapshot():
            assert lease.ttl_seconds == 60
        # awaited, as a task, in gather(), with a time-out
        first, second = await asyncio.gather(libkv.aio.open(tmp_path / "s"), libkv.aio.open(tmp_path / "s"))
        third = await asyncio.create_task(libkv.aio.open(tmp_path / "s"))
        lease = await asyncio.wait_for(first.lease(60), 60)
        await lease.close()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(first.lease(60))
        await task.result().close()
        for db in (first, second, third):
            await db.close()

    run(main())


def test_open_that_fails_raises_where_it_is_entered(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        with pytest.raises(libkv.NotFoundError):
            async with libkv.aio.open(tmp_path / "none", create=False):
                pytest.fail("the block was entered")
        with pytest.raises(TypeError, match="creat"):
            async with libkv.aio.open(tmp_path / "none", creat=False):  # type: ignore[call-arg]
                pytest.fail("the block was entered")
        db = None
        with pytest.raises(ZeroDivisionError):
            async with libkv.aio.open(tmp_path / "s") as db:
                _ = 1 / 0
        assert db is not None
        assert db.closed
        making = libkv.aio.open(tmp_path / "s")
        await (await making).close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await making
        unused = libkv.aio.open(tmp_path / "s")
        unused.close()

    run(main())


def test_misuse_raises_where_it_is_awaited(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        wrong: Any = db
        for call in (
            lambda: wrong.put(None),
            lambda: wrong.put("k", "v", leese=1),
            lambda: wrong.get(5),
            lambda: wrong.range(prefx="k"),
            wrong.delete,
            lambda: wrong.txn(success=["k"]),
            lambda: wrong.compact("x"),
            lambda: wrong.transact(5),
        ):
            with pytest.raises(TypeError):
                await call()
        with pytest.raises(libkv.InvalidArgumentError):
            await db.put("")
        with pytest.raises(libkv.LeaseNotFoundError):
            await db.put("k", lease=5)
        with pytest.raises(TypeError, match="did you mean"):
            await libkv.aio.open(":memory:", durabilty="none")  # type: ignore[call-arg]
        assert (await db.status()).revision == 1

    run(main())


def test_group_is_resolved_with_few_wake_ups(run: Run, db: libkv.aio.Db, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop, wakes = asyncio.get_running_loop(), [0]
        mailbox = _libkv._Mailbox()
        monkeypatch.setattr(_mailbox, "mailbox_of", lambda _: mailbox)

        def resolve() -> None:
            wakes[0] += 1
            mailbox.resolve()

        loop.add_reader(mailbox.fileno(), resolve)
        await db.put("first")
        assert wakes == [1]
        writes = [asyncio.ensure_future(db.put(f"k{number}", "v")) for number in range(1_000)]
        await asyncio.gather(*writes)
        loop.remove_reader(mailbox.fileno())
        # the thread that commits may begin a group with the first write: a few groups, never 1,000
        assert wakes[0] < 100, f"{wakes[0]} wake-ups for 1,000 writes"

    run(main())
    assert db._db.range(prefix="k").count == 1_000


def test_response_queue_wakes_once_for_all_it_has(kv: libkv.Db) -> None:
    """Without a loop: responses that come before the queue is taken share one wake-up."""
    mailbox = _libkv._Mailbox()
    futures = [Future() for _ in range(50)]
    for number, future in enumerate(futures):
        kv._submit(libkv.Put(f"k{number}" if number % 5 else ""), mailbox, future)
    while kv.status().revision < 41:
        select.select([mailbox.fileno()], [], [])
    while any(not future.done() for future in futures):
        select.select([mailbox.fileno()], [], [])
        waiting = len(os.read(mailbox.fileno(), 100))
        assert waiting == 1, "one byte for all responses"
        mailbox.resolve()
    assert sum(isinstance(future.response, libkv.PutResponse) for future in futures) == 40
    assert sum(isinstance(future.response, libkv.InvalidArgumentError) for future in futures) == 10


def test_threads_are_not_started_for_calls_or_handles(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        before = threading.active_count()
        await asyncio.gather(*(db.put(f"k{number}") for number in range(200)))
        await asyncio.gather(*(db.get(f"k{number}") for number in range(200)))
        assert threading.active_count() == before

    run(main())


def test_loop_runs_while_another_process_holds_the_lock(run: Run, holder: Holder) -> None:
    async def main() -> None:
        db = await libkv.aio.open(holder.path, busy_timeout_ms=math.inf)
        write = asyncio.ensure_future(db.put("k", "v"))
        for _ in range(100):  # counted, not timed
            await asyncio.sleep(0.001)
            assert await db.get("k") is None
        assert not write.done()
        holder.release()
        await write
        assert await db.get("k")
        await db.close()

    run(main())


def test_busy_is_an_exception(run: Run, holder: Holder) -> None:
    async def main() -> None:
        async with libkv.aio.open(holder.path, busy_timeout_ms=10) as db:
            with pytest.raises(libkv.BusyError):
                await db.put("k", "v")

    run(main())


def test_cancel_withdraws_writes_that_wait(run: Run, holder: Holder) -> None:
    async def main() -> None:
        db = await libkv.aio.open(holder.path, busy_timeout_ms=math.inf)
        writes = [asyncio.ensure_future(db.put(f"mine/{number}")) for number in range(10)]
        await asyncio.sleep(0)
        assert not any(write.done() for write in writes)
        for write in writes:
            write.cancel()
        for write in writes:
            with pytest.raises(asyncio.CancelledError) as raised:
                await write
            assert raised.value.__cause__ is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await db.delete(prefix="")
        holder.release()
        before = (await db.status()).revision
        assert (await db.put("other")).revision == before + 1
        assert (await db.range(prefix="mine/")).count == 0
        await db.close()

    run(main())


def test_cancel_too_late_has_an_unknown_outcome(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        for number in range(200):
            write = asyncio.ensure_future(db.put(f"k{number}"))
            await asyncio.sleep(0)
            while (await db.status()).revision < number + 2:
                pass  # the worker commits; the loop has not run, so the response has not arrived yet
            write.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await write
            assert isinstance(raised.value.__cause__, libkv.UnknownOutcomeError)
        assert (await db.range()).count == 200

    run(main())


def test_cancelled_writes_exist_as_their_exception_reports(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        writes = [asyncio.ensure_future(db.put(f"{number}")) for number in range(300)]
        await asyncio.sleep(0)
        for write in writes:
            write.cancel()
        taken_back = set()
        for number, write in enumerate(writes):
            try:
                await write
            except asyncio.CancelledError as cancelled:
                if cancelled.__cause__ is None:
                    taken_back.add(number)
        await db.put("last")
        there = {int(kv.key) for kv in await db.range(end=":")}
        assert not there & taken_back

    run(main())


def test_transact_with_coroutine_and_function(run: Run, db: libkv.aio.Db) -> None:
    async def add(t: libkv.aio.Transaction, by: int = 1) -> int:
        found = await t.get("n")
        await asyncio.sleep(0)
        total = int(found.value) + by if found else by
        await t.put("n", str(total))
        return total

    def broken(t: libkv.Transaction) -> None:
        t.put("n", "0")
        raise KeyError

    def plain(t: libkv.Transaction) -> None:
        found = t.get("n")
        t.put("n", str(int(found.value) + 1 if found else 1))

    class Callable:
        async def __call__(self, t: libkv.aio.Transaction) -> None:
            assert (await t.range(prefix="n")).count == 1
            assert await t.delete("none") == 0
            await add(t)

    async def main() -> None:
        await asyncio.gather(*(db.transact(add, max_retries=None) for _ in range(20)))
        await asyncio.gather(*(db.transact(plain, max_retries=None) for _ in range(20)))
        await db.transact(functools.partial(add, by=5))
        await db.transact(Callable())
        found = await db.get("n")
        assert found is not None
        assert found.value == b"46"
        with pytest.raises(TypeError, match="not a lambda"):
            await db.transact(lambda t: add(t))  # noqa: PLW0108
        with pytest.raises(KeyError):
            await db.transact(broken)
        assert (await db.transact(lambda t: t.get("n"))) == found

    run(main())


def test_transact_gives_up_and_is_cancelled(run: Run, db: libkv.aio.Db) -> None:
    tries, sixth = [0], asyncio.Event()

    async def overtaken(t: libkv.aio.Transaction) -> None:
        await t.get("k")
        await db.put("k")
        tries[0] += 1
        if tries[0] == 6:
            sixth.set()
        await t.put("k", "mine")

    async def main() -> None:
        with pytest.raises(libkv.ConflictError):
            await db.transact(overtaken, max_retries=2)
        assert tries == [3]
        endless = asyncio.ensure_future(db.transact(overtaken, max_retries=None))
        await sixth.wait()
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless

    run(main())


def test_transact_retries_after_a_compaction(run: Run, db: libkv.aio.Db) -> None:
    tries = [0]

    async def body(t: libkv.aio.Transaction) -> None:
        await t.get("a")
        tries[0] += 1
        if tries[0] == 1:
            await db.compact((await db.put("c")).revision)
        await t.get("b")
        await t.put("a", "again")

    async def main() -> None:
        await db.put("a")
        await db.transact(body)
        assert tries == [2]

    run(main())


def test_scan_lets_other_tasks_run(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        await db.txn(success=[libkv.Put(f"{number:05}") for number in range(10_000)])
        turns = [0]

        async def other() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        assert len([kv async for kv in db.scan()]) == 10_000
        task.cancel()
        assert turns[0] >= 9

    run(main())


def test_handle_on_many_loops_in_many_threads(kv: libkv.Db) -> None:
    db = libkv.aio.Db(kv)
    wrong: list[BaseException] = []

    async def work(name: str) -> None:
        await asyncio.gather(*(db.put(f"{name}/{number}") for number in range(100)))
        assert (await db.range(prefix=f"{name}/")).count == 100

    def in_thread(name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        try:
            for turn in range(3):
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    runner.run(work(f"{name}/{turn}"))
        except BaseException as error:  # noqa: BLE001 - shown below
            wrong.append(error)

    threads = [threading.Thread(target=in_thread, args=(f"{loop}{n}", LOOPS[loop])) for n in range(3) for loop in LOOPS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert kv.range().count == 100 * 3 * 6


def cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of a loop, if there are any, and wait for them."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))


@pytest.mark.parametrize("kind", LOOPS)
def test_loop_closed_with_writes_in_flight_is_freed(kind: str, kv: libkv.Db) -> None:
    loop = LOOPS[kind]()
    db = libkv.aio.Db(kv)

    async def begin() -> None:
        write = asyncio.ensure_future(db.put("k"))
        await asyncio.sleep(0)
        del write

    loop.run_until_complete(begin())
    cancel_all(loop)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(db.put("l"))
    gc.collect()
    assert gone() is None
    assert kv.get("l")


def test_close_with_writes_in_flight(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        db = await libkv.aio.open(tmp_path / "s")
        writes = [asyncio.ensure_future(db.put(f"k{number}")) for number in range(100)]
        await asyncio.sleep(0)
        await db.close()
        for result in await asyncio.gather(*writes, return_exceptions=True):
            assert isinstance(result, libkv.PutResponse | libkv.ClosedError), result

    run(main())


async def until(is_so: Callable[[], bool]) -> None:
    """A revocation that is not awaited takes a moment."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - there is no notification
            await asyncio.sleep(0.001)


async def until_count(db: libkv.aio.Db, prefix: str, count: int) -> None:
    await until(lambda: db._db.range(prefix=prefix, count_only=True).count == count)


def test_watcher_is_an_asynchronous_iterator(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        async with db.watch(prefix="k/") as watcher:
            writes = [asyncio.ensure_future(db.put(f"k/{number}")) for number in range(100)]
            seen: list[bytes] = []
            async for batch in watcher:
                seen += [event.kv.key for event in batch]
                if len(seen) == 100:
                    break
            assert seen == [f"k/{number}".encode() for number in range(100)]
            await asyncio.gather(*writes)
            assert watcher.try_next() is None
            assert await watcher.next(0) is None
            assert await watcher.next(0.01) is None
            assert watcher.resume_revision == (await db.status()).revision + 1
            assert watcher.fileno() >= 0
            assert "aio.Watcher" in repr(watcher)
        with pytest.raises(libkv.ClosedError):
            await watcher.next()
        assert [batch async for batch in watcher] == []
        with pytest.raises(libkv.InvalidArgumentError):
            db.watch(start="b", end="a")

    run(main())


@pytest.mark.parametrize("end", ["cancel", "close", "store", "task"])
def test_watcher_that_is_awaited_ends_at_once(run: Run, end: str) -> None:
    async def main() -> None:
        db = await libkv.aio.open(":memory:")
        watcher, other = db.watch(), db.watch()
        waiting = asyncio.ensure_future(watcher.next())

        async def iterate() -> list[libkv.WatchBatch]:
            return [batch async for batch in other]

        iterating = asyncio.ensure_future(iterate())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert not iterating.done()
        with pytest.raises(libkv.InvalidArgumentError):
            await watcher.next()
        match end:
            case "store":
                await db.close()
            case "task":
                waiting.cancel()
                iterating.cancel()
            case _:
                # from another thread: the loop is woken
                threading.Thread(target=lambda: [getattr(each, end)() for each in (watcher, other)]).start()
        got, iterated = await asyncio.gather(waiting, iterating, return_exceptions=True)
        expected = {"cancel": libkv.CancelledError, "task": asyncio.CancelledError}.get(end, libkv.ClosedError)
        assert isinstance(got, expected)
        if end in ("cancel", "close"):
            assert iterated == []
        else:
            assert isinstance(iterated, expected)
        if end == "task":
            await db.put("k")
            assert await watcher.next() is not None
            assert [batch.revision async for batch in other_until(other, 2)] == [2]
        await db.close()

    run(main())


async def other_until(watcher: libkv.aio.Watcher, revision: int) -> Any:
    async for batch in watcher:
        yield batch
        if batch.revision >= revision:
            return


def test_watchers_a_thousand_on_one_loop(run: Run, db: libkv.aio.Db) -> None:
    """A watcher needs no thread and no descriptor, and is woken for its own key only."""

    async def main() -> None:
        await db.put("first")  # the loop's own descriptors, and the store's threads
        async with asyncio.timeout(60):
            assert await db.watch().next(0.001) is None
        before = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        watchers = [db.watch(f"k/{number}") for number in range(1_000)]
        waiting = [asyncio.ensure_future(watcher.next()) for watcher in watchers]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))) == before
        revision = (await db.put("k/7")).revision
        assert (await waiting[7]) is not None
        assert sum(task.done() for task in waiting) == 1
        await db.txn(success=[libkv.Put(f"k/{number}") for number in range(1_000) if number != 7])
        batches = await asyncio.gather(*waiting)
        assert {batch.revision for batch in batches if batch} == {revision, revision + 1}
        assert (len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))) == before

    run(main())


def test_watcher_replay_lets_other_tasks_run(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        for _ in range(50):
            await asyncio.gather(*(db.put("k") for _ in range(100)))
        turns = [0]

        async def other() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        count = 0
        async for _ in db.watch(start_revision=1):
            count += 1
            if count == 5_000:
                break
        task.cancel()
        assert turns[0] >= 4

    run(main())


def test_lease_on_the_loop(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        granted = await db.lease_grant(100, id=7)
        assert (granted.id, granted.ttl_seconds) == (7, 100)
        await db.put("k", lease=7)
        assert (await db.lease_keep_alive(7)).ttl_seconds == 100
        assert (await db.lease_time_to_live(7, keys=True)).keys == [b"k"]
        assert await db.lease_list() == [7]
        assert (await db.lease_revoke(7)).revision == 3
        with pytest.raises(libkv.LeaseNotFoundError):
            await db.lease_revoke(7)
        calls: list[int] = []
        async with db.lease(60, end_with_process=True) as lease:
            await db.put("k", lease=lease.id)
            assert (lease.ttl_seconds, lease.lost) == (60, False)
            assert 58 <= lease.remaining <= 60
            assert "aio.Lease" in repr(lease)
            lease.on_lost(lambda: calls.append(0))
            with pytest.raises(TypeError):
                lease.on_lost(None)  # type: ignore[arg-type]
        assert await db.get("k") is None
        await lease.close()
        assert calls == []

    run(main())


def test_lease_loss_is_reported_on_the_loop(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        lease, called, wrong = await db.lease(3), asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda *_: wrong.set())

        def broken() -> None:
            raise KeyError

        def callback() -> None:
            assert asyncio.get_running_loop()
            called.set()

        lease.on_lost(broken)
        lease.on_lost(callback)
        await db.lease_revoke(lease.id)
        async with asyncio.timeout(60):
            await called.wait()
            await wrong.wait()
            assert lease.lost
            called.clear()
            lease.on_lost(callback)
            await called.wait()
        await lease.close()

    run(main())


def test_lease_callback_that_refers_to_its_lease_is_freed(run: Run, db: libkv.aio.Db) -> None:
    class Owner:
        def __init__(self, lease: libkv.aio.Lease) -> None:
            self.lease = lease
            lease.on_lost(self.lost)

        def lost(self) -> None:
            pytest.fail("the callback of a freed owner ran")

    async def main() -> None:
        gone = weakref.ref(Owner(await db.lease(60)))
        gc.collect()
        assert gone() is None
        await until(lambda: not db._db.lease_list())

    run(main())


def test_lock_on_the_loop(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        inside = [0]
        order: list[int] = []

        async def work() -> None:
            async with db.lock("name", 60) as lock:
                assert inside == [0]
                inside[0] += 1
                order.append(lock.revision or 0)
                await asyncio.sleep(0)
                inside[0] -= 1

        threads = len(os.listdir("/proc/self/task"))
        await asyncio.gather(*(work() for _ in range(50)))
        assert order == sorted(order)
        assert len(set(order)) == 50
        assert len(os.listdir("/proc/self/task")) <= threads + 3, "only threads of the store"
        mine, other = db.lock("name", 60), db.lock("name", 60)
        assert await mine.try_acquire()
        await mine.acquire()
        assert mine.is_held
        assert mine.key.startswith(b"name/")
        assert "held" in repr(mine)
        assert not await other.try_acquire()
        with pytest.raises(libkv.TimeoutError, match="name/"):
            await other.acquire(timeout=0.01)
        assert (await db.range(prefix="name/")).count == 1
        await mine.release()
        await mine.release()
        assert (mine.key, mine.revision) == (b"", None)

    run(main())


def test_cancel_leaves_the_queue(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        mine = db.lock("name", 60)
        await mine.acquire()
        # cancel at each step: the grant, the put, the read of the queue, the wait
        for turns in range(60):
            other = db.lock("name", 60)
            waiting = asyncio.ensure_future(other.acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (other.is_held, other.key) == (False, b"")
        await until_count(db, "name/", 1)
        other = db.lock("name", 60)
        waiting = asyncio.ensure_future(other.acquire())
        await until_count(db, "name/", 2)
        with pytest.raises(libkv.InvalidArgumentError, match="in use"):
            await other.release()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await other.acquire()
        await until_count(db, "name/", 1)
        await until(lambda: len(db._db.lease_list()) == 1)
        await mine.release()
        await other.acquire()
        assert other.is_held

    run(main())


def test_lock_whose_lease_is_lost_while_it_waits(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        mine, other = db.lock("name", 3), db.lock("name", 3)
        await mine.acquire()
        waiting = asyncio.ensure_future(other.acquire())
        await until_count(db, "name/", 2)
        for kv in await db.range(prefix="name/"):
            if kv.key != mine.key:
                await db.lease_revoke(kv.lease)
        with pytest.raises(libkv.LeaseLostError):
            await waiting

    run(main())


def test_election_on_the_loop(run: Run, db: libkv.aio.Db) -> None:
    async def main() -> None:
        mine, other = db.election("leader", 60), db.election("leader", 60)
        async with mine.observe() as leaders:
            assert leaders.try_next() is None
            assert await leaders.next(0.001) is None
            assert await mine.leader() is None
            with pytest.raises(libkv.FailedPreconditionError):
                await mine.proclaim("too early")
            await mine.campaign("first")
            assert mine.is_leader
            assert [kv.value async for kv in first_of(leaders)] == [b"first"]
            await mine.campaign("second")
            await mine.proclaim(b"third")
            with pytest.raises(libkv.TimeoutError):
                await other.campaign("never", timeout=0.01)
            shown = await leaders.next()
            assert shown is not None
            assert (shown.key, shown.value, shown.create_revision) == (mine.key, b"third", mine.revision)
            waiting = asyncio.ensure_future(other.campaign("fourth"))
            await until_count(db, "leader/", 2)
            await mine.resign()
            await waiting
            assert [kv.value async for kv in first_of(leaders)] == [b"fourth"]
        assert [kv async for kv in leaders] == []
        await db.lease_revoke(int(other.key.rpartition(b"/")[2], 16))
        with pytest.raises(libkv.LeaseLostError):
            await other.proclaim("too late")
        assert "does not lead" in repr(mine)

    run(main())


async def first_of(leaders: libkv.aio.Leaders) -> Any:
    async for kv in leaders:
        yield kv
        return


def test_close_ends_waits_for_locks(run: Run) -> None:
    async def main() -> None:
        db = await libkv.aio.open(":memory:")
        mine, other = db.lock("name", 60), db.lock("name", 60)
        await mine.acquire()
        waiting = asyncio.ensure_future(other.acquire())
        await until_count(db, "name/", 2)
        await db.close()
        with pytest.raises(libkv.ClosedError):
            await waiting
        for call in (mine.acquire, mine.release, other.try_acquire):
            with pytest.raises(libkv.ClosedError):
                await call()
        with pytest.raises(libkv.ClosedError):
            await db.lease(60)

    run(main())


def test_revision_at_a_time(run: Run) -> None:
    async def main() -> None:
        clock = libkv.Clock(1_700_000_000_000)
        async with libkv.aio.open(":memory:", clock=clock) as db:
            revision = (await db.put("k")).revision
            clock.advance(120_000)
            await db.put("k")
            assert await db.revision_at(1_700_000_000) == revision

    run(main())
