"""Watchers, leases, locks, elections, revisions by time, in Python."""

import _thread
import contextlib
import gc
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libkv
import pytest

WAIT_LIMIT_SECONDS = 60
"""The deadline of a wait for something that must happen at once."""

LOSES_SOON = 3
"""A TTL in seconds; the loss of a lease is noticed at the next keep-alive, after a third of it."""


def test_watcher_gives_complete_revisions_in_order(kv: libkv.Db) -> None:
    watcher = kv.watch(prefix="a/")
    kv.txn(success=[libkv.Put("a/1", "x"), libkv.Put("b", "y"), libkv.Put("a/2", "z")])
    kv.put("b", "other")
    kv.delete("a/1")
    first = watcher.next()
    assert first is not None
    assert first.revision == 2
    assert [(event.type, event.kv.key) for event in first] == [("put", b"a/1"), ("put", b"a/2")]
    assert len(first) == 2
    assert first[1] is first.events[1]
    assert first[:1] == first.events[:1]
    second = next(watcher)
    match second:
        case libkv.WatchBatch(4, [libkv.Event("delete", gone, None)]):
            assert gone.key == b"a/1"
        case _:
            pytest.fail(repr(second))
    assert "Event(type='delete'" in repr(second)
    assert watcher.try_next() is None
    assert watcher.next(0) is None
    assert watcher.next(timeout=-1) is None
    assert watcher.resume_revision == 5
    assert "revision 5" in repr(watcher)


def test_watch_options(kv: libkv.Db) -> None:
    kv.put("k", "1")
    kv.put("k", "2")
    kv.delete("k")

    def seen(**options: Any) -> list[tuple[int, str, bytes | None]]:
        with kv.watch(start_revision=1, **options) as watcher:
            found: list[tuple[int, str, bytes | None]] = []
            while batch := watcher.try_next():
                found += [(batch.revision, event.type, event.prev_kv and event.prev_kv.value) for event in batch]
            return found

    every = [(2, "put", None), (3, "put", None), (4, "delete", None)]
    assert seen() == seen(prefix="") == seen(start="a") == seen(start="a", end="z") == seen(prefix="k") == every
    assert seen(key="k", prev_kv=True) == [(2, "put", None), (3, "put", b"1"), (4, "delete", b"2")]
    assert seen(no_put=True) == every[2:]
    assert seen(no_delete=True) == every[:2]
    assert seen(key="other", progress=True) == []


def test_watch_refusals(kv: libkv.Db) -> None:
    wrong: Any = kv.watch
    calls: list[Callable[[], Any]] = [
        lambda: wrong(None),
        lambda: wrong("k", prefix="k"),
        lambda: wrong(5),
        lambda: wrong("k", prev_kv=1),
        lambda: wrong("k", start_revision="2"),
        lambda: wrong("k", revision=2),
        lambda: wrong("k").next("1"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="nan"):
        kv.watch("k").next(math.nan)
    with pytest.raises(OverflowError):
        kv.watch("k", start_revision=1 << 70)
    with pytest.raises(libkv.InvalidArgumentError):
        kv.watch(start="b", end="a")
    kv.put("k")
    kv.put("k")
    kv.compact(3)
    with pytest.raises(libkv.CompactedError) as compacted:
        kv.watch(start_revision=1)
    assert compacted.value.revision == 3
    assert next(kv.watch(start_revision=compacted.value.revision)).revision == 3
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(kv.watch())


def test_watch_progress_is_a_batch_without_events(kv_etcd: libkv.Db, kv_clock: libkv.Clock) -> None:
    watcher = kv_etcd.watch("quiet", progress=True)
    kv_etcd.put("loud")
    kv_clock.advance(600_000)
    batch = watcher.next(WAIT_LIMIT_SECONDS)
    assert batch == watcher_batch(2)
    assert not batch


def watcher_batch(revision: int) -> libkv.WatchBatch:
    """A batch without events."""
    with libkv.open(":memory:", clock=(clock := libkv.Clock(0))) as db:
        watcher = db.watch("quiet", progress=True)
        for _ in range(revision - 1):
            db.put("loud")
        clock.advance(600_000)
        batch = watcher.next(WAIT_LIMIT_SECONDS)
        assert batch is not None
        return batch


def test_watcher_behind_a_compaction_returns_compacted(kv: libkv.Db) -> None:
    watcher = kv.watch("k")
    for _ in range(5):
        kv.put("k")
    kv.compact(5)
    with pytest.raises(libkv.CompactedError) as compacted:
        watcher.next()
    with pytest.raises(libkv.CompactedError):
        next(watcher)
    assert next(kv.watch("k", start_revision=compacted.value.revision or 0)).revision == 5


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run work in a thread; the list gets its result or its exception."""
    got: list[Any] = []

    def run() -> None:
        while not got:
            try:
                got.append(work())
            except libkv.InvalidArgumentError:
                continue  # until_waiting() was reading at this moment
            except BaseException as error:  # noqa: BLE001
                got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, got


def until_waiting(watcher: Any) -> None:
    """Return when another thread waits in the watcher."""
    with contextlib.suppress(libkv.InvalidArgumentError):
        while True:
            watcher.next(0)


@pytest.mark.parametrize(
    ("end", "expected"),
    [("cancel", libkv.CancelledError), ("close", libkv.ClosedError), ("store", libkv.ClosedError)],
)
@pytest.mark.parametrize("iterates", [False, True])
def test_waits_end_at_once(end: str, expected: type[libkv.Error], iterates: bool) -> None:
    db = libkv.open(":memory:")
    watcher = db.watch()
    thread, got = in_thread(lambda: list(watcher) if iterates else watcher.next())
    until_waiting(watcher)
    {"cancel": watcher.cancel, "close": watcher.close, "store": db.close}[end]()
    thread.join(WAIT_LIMIT_SECONDS)
    if iterates and end != "store":
        assert got == [[]]
        assert list(watcher) == []
    else:
        assert isinstance(got[0], expected)
        with pytest.raises(expected):
            watcher.try_next()
    watcher.cancel()
    watcher.close()
    db.close()


def test_watcher_refuses_a_second_thread(kv: libkv.Db) -> None:
    watcher = kv.watch()
    thread, got = in_thread(watcher.next)
    until_waiting(watcher)
    for call in (watcher.next, watcher.try_next, lambda: next(watcher)):
        with pytest.raises(libkv.InvalidArgumentError):
            call()
    kv.put("k")
    thread.join(WAIT_LIMIT_SECONDS)
    assert got[0].revision == 2


def test_ctrl_c_ends_a_wait_and_loses_nothing(kv: libkv.Db) -> None:
    watcher, lock, other = kv.watch("k"), kv.lock("name", 60), kv.lock("name", 60)
    other.acquire()
    leaders = kv.election("leaderless", 60).observe()
    interrupt = threading.Event()

    def interrupter() -> None:
        while not interrupt.wait(0.05):
            os.kill(os.getpid(), signal.SIGINT)

    for wait in (
        watcher.next,
        lambda: next(watcher),
        leaders.next,
        lock.acquire,
        lambda: kv.lock("name", 60).acquire(60),
    ):
        interrupt.clear()
        thread = threading.Thread(target=interrupter)
        try:
            thread.start()
            wait()
        except KeyboardInterrupt:
            interrupt.set()
        while True:
            try:
                thread.join()
                break
            except KeyboardInterrupt:  # a signal that was pending
                continue
        assert interrupt.is_set()
    kv.put("k")
    assert next(watcher).revision == kv.range().revision
    assert not lock.is_held
    until_count(kv, "name/", 1)


def until_count(db: libkv.Db, prefix: str, count: int) -> None:
    """Wait for the number of keys: a revocation in the background takes a moment."""
    until = time.monotonic() + WAIT_LIMIT_SECONDS
    while db.range(prefix=prefix, count_only=True).count != count:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_signal_that_does_not_raise_does_not_end_a_wait(kv: libkv.Db) -> None:
    came = []

    def handler(*_: Any) -> None:
        came.append(1)
        if len(came) == 3:
            threading.Thread(target=lambda: kv.put("k")).start()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        assert kv.watch().next(WAIT_LIMIT_SECONDS) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) >= 3


def test_wait_makes_no_system_call_while_idle(kv: libkv.Db) -> None:
    """A waiting thread has no context switches until it is woken."""
    watcher = kv.watch()
    identity: list[int] = []
    thread, got = in_thread(lambda: identity.append(_thread.get_native_id()) or watcher.next())  # type: ignore[func-returns-value]
    until_waiting(watcher)

    def switches() -> int:
        status = Path(f"/proc/self/task/{identity[0]}/status").read_text()
        return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

    asleep = Path(f"/proc/self/task/{identity[0]}/stat")
    while asleep.read_text().split()[2] != "S":
        pass
    before = switches()
    time.sleep(0.5)
    grown = switches() - before
    kv.put("k")
    thread.join(WAIT_LIMIT_SECONDS)
    assert got[0].revision == 2
    assert grown <= 1


def test_fileno_polls_as_readable(kv: libkv.Db) -> None:
    watcher = kv.watch()
    poll = select.poll()
    poll.register(watcher, select.POLLIN)
    assert poll.poll(0) == []
    kv.put("k")
    assert poll.poll(WAIT_LIMIT_SECONDS * 1_000) == [(watcher.fileno(), select.POLLIN)]
    assert watcher.try_next() is not None
    assert watcher.try_next() is None
    assert poll.poll(0) == []
    watcher.cancel()
    assert poll.poll(0) != []


def test_watchers_need_no_descriptor_each(kv: libkv.Db) -> None:
    before = len(os.listdir("/proc/self/fd"))
    watchers = [kv.watch(f"{number}") for number in range(100)]
    for watcher in watchers:
        assert watcher.next(0.0001) is None
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert kv.status().watchers == 100
    watchers.clear()
    del watcher
    gc.collect()
    assert kv.status().watchers == 0


def test_threads_run_while_another_waits(kv: libkv.Db) -> None:
    watcher = kv.watch("k")
    writer = threading.Timer(0.05, kv.put, ("k",))  # runs only if the wait releases the interpreter
    writer.start()
    assert watcher.next() is not None
    writer.join()


def test_watcher_in_another_process(tmp_path: Path) -> None:
    program = """
        import sys, libkv
        with libkv.open(sys.argv[1]) as db, db.watch(prefix="k/") as watcher:
            print("ready", flush=True)
            for batch in watcher:
                for event in batch:
                    print(batch.revision, event.kv.key.decode(), flush=True)
                if batch.events[-1].kv.key == b"k/end":
                    break
    """
    with libkv.open(tmp_path / "s") as db:
        code = "\n".join(line[8:] for line in program.splitlines())
        process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "s"], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        expected = [f"{db.put(f'k/{number}').revision} k/{number}" for number in range(200)]
        expected.append(f"{db.put('k/end').revision} k/end")
        assert process.stdout.read().splitlines() == expected
        assert process.wait(WAIT_LIMIT_SECONDS) == 0
        process.stdout.close()


def test_lease_calls_by_id(kv: libkv.Db) -> None:
    granted = kv.lease_grant(100, id=7)
    assert granted == kv_lease_grant(1, 7, 100)
    assert kv.lease_grant(0).ttl_seconds == 1
    with pytest.raises(libkv.LeaseExistsError):
        kv.lease_grant(100, id=7)
    with pytest.raises(libkv.InvalidArgumentError):
        kv.lease_grant(9_000_000_001)
    kv.put("b", lease=7)
    kv.put("a", lease=7)
    assert kv.lease_keep_alive(7).ttl_seconds == 100
    assert kv.lease_keep_alive(8).ttl_seconds == 0
    left = kv.lease_time_to_live(7, keys=True)
    assert left.keys == [b"a", b"b"]
    assert left.granted_ttl_seconds == 100
    assert 98 <= left.ttl_seconds <= 100
    assert kv.lease_time_to_live(7).keys == []
    assert kv.lease_time_to_live(8).ttl_seconds == -1
    assert kv.lease_list()[-1] == 7
    assert kv.lease_revoke(7).revision == 4
    assert kv.range().count == 0
    with pytest.raises(libkv.LeaseNotFoundError):
        kv.lease_revoke(7)
    wrong: Any = kv
    calls: list[Callable[[], Any]] = [
        lambda: wrong.lease_grant("1"),
        lambda: wrong.lease_grant(1, ttl=1),
        lambda: wrong.lease_revoke(None),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


def kv_lease_grant(revision: int, number: int, ttl_seconds: int) -> libkv.LeaseGrantResponse:
    with libkv.open(":memory:") as db:
        for _ in range(revision - 1):
            db.put("k")
        return db.lease_grant(ttl_seconds, id=number)


def test_lease_keeps_itself_alive(kv: libkv.Db) -> None:
    with kv.lease(60) as lease:
        kv.put("mine", lease=lease.id)
        assert lease.ttl_seconds == 60
        assert 58 <= lease.remaining <= 60
        assert not lease.lost
        assert str(lease.id) in repr(lease)
        calls: list[int] = []
        lease.on_lost(lambda: calls.append(1))
    assert kv.get("mine") is None
    assert kv.lease_list() == []
    lease.close()
    assert not lease.lost
    assert calls == []
    collected = kv.lease(60, end_with_process=True)
    kv.put("mine", lease=collected.id)
    del collected
    gc.collect()
    until_count(kv, "mine", 0)
    wrong: Any = kv.lease
    for call in (
        lambda: wrong("1"),
        lambda: wrong(1, end_with_proces=True),
        lambda: kv.lease(60).on_lost(wrong.__doc__),
    ):
        with pytest.raises(TypeError):
            call()


def test_lease_loss_is_reported_on_a_thread(kv: libkv.Db, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", wrong.append)
    lease = kv.lease(LOSES_SOON)
    called, threads = threading.Semaphore(0), set()

    def callback() -> None:
        threads.add(threading.get_ident())
        called.release()

    def broken() -> None:
        raise KeyError("mine")

    lease.on_lost(broken)
    lease.on_lost(callback)
    kv.lease_revoke(lease.id)
    assert called.acquire(timeout=WAIT_LIMIT_SECONDS)
    assert lease.lost
    assert "lost" in repr(lease)
    assert lease.remaining == 0
    lease.on_lost(callback)
    assert called.acquire(timeout=WAIT_LIMIT_SECONDS)
    assert not called.acquire(timeout=0.01)
    assert threading.get_ident() not in threads
    assert [error.exc_type for error in wrong] == [KeyError]
    lease.close()


def test_lease_callback_that_refers_to_its_lease_is_freed(kv: libkv.Db) -> None:
    class Owner:
        def __init__(self) -> None:
            self.lease = kv.lease(60)
            self.lease.on_lost(self.lost)

        def lost(self) -> None:
            pytest.fail("the callback of a freed owner ran")

    gone = weakref.ref(Owner())
    gc.collect()
    assert gone() is None
    until = time.monotonic() + WAIT_LIMIT_SECONDS
    while kv.lease_list():
        assert time.monotonic() < until


def test_lease_expires_by_the_clock(kv_etcd: libkv.Db, kv_clock: libkv.Clock) -> None:
    kv_etcd.put("k", lease=kv_etcd.lease_grant(10).id)
    kv_clock.advance(9_999)
    assert kv_etcd.get("k")
    kv_clock.advance(1_001)
    assert kv_etcd.get("k") is None
    assert kv_etcd.lease_list() == []


def test_lock_excludes(kv: libkv.Db) -> None:
    mine, other = kv.lock("name", 60), kv.lock(b"name", 60)
    assert (mine.key, mine.revision, mine.is_held) == (b"", None, False)
    with mine as held:
        assert held is mine
        assert mine.is_held
        assert mine.key.startswith(b"name/")
        found = kv.get(mine.key)
        assert found is not None
        assert mine.revision == found.create_revision
        mine.acquire()
        assert mine.try_acquire()
        assert not other.try_acquire()
        with pytest.raises(libkv.TimeoutError, match="name/") as raised:
            other.acquire(timeout=0.01)
        assert isinstance(raised.value, TimeoutError)
        assert kv.range(prefix="name/").count == 1
        assert "held" in repr(mine)
    assert "not held" in repr(mine)
    assert other.try_acquire()
    assert (other.revision or 0) > found.create_revision
    other.release()
    other.release()
    with pytest.raises(libkv.InvalidArgumentError):
        kv.lock("", 60)
    wrong: Any = kv.lock
    for call in (
        lambda: wrong("name"),
        lambda: wrong(5, 60),
        lambda: wrong("name", "60"),
        lambda: other.acquire(wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_lock_passes_from_thread_to_thread(kv: libkv.Db) -> None:
    inside, order = [0], []

    def work() -> None:
        for _ in range(10):
            with kv.lock("name", 60) as lock:
                inside[0] += 1
                assert inside == [1]
                order.append(lock.revision or 0)
                inside[0] -= 1

    threads = [in_thread(work) for _ in range(4)]
    for thread, _ in threads:
        thread.join(WAIT_LIMIT_SECONDS)
    assert [got for _, got in threads] == [[None]] * 4
    assert order == sorted(order)
    assert len(set(order)) == 40
    assert kv.range(prefix="name/").count == 0


def test_lock_handle_in_use_is_refused(kv: libkv.Db) -> None:
    mine, other = kv.lock("name", 60), kv.lock("name", 60)
    mine.acquire()
    thread, got = in_thread(other.acquire)
    until_count(kv, "name/", 2)
    for call in (other.acquire, other.try_acquire, other.release):
        with pytest.raises(libkv.InvalidArgumentError, match="in use"):
            call()
    assert not other.is_held
    mine.release()
    thread.join(WAIT_LIMIT_SECONDS)
    assert got == [None]
    assert other.is_held


def test_lock_whose_lease_is_lost(kv: libkv.Db) -> None:
    mine, other = kv.lock("name", LOSES_SOON), kv.lock("name", LOSES_SOON)
    mine.acquire()
    thread, got = in_thread(other.acquire)
    until_count(kv, "name/", 2)
    waiting = max(kv.range(prefix="name/"), key=lambda kv: kv.create_revision)
    kv.lease_revoke(waiting.lease)
    thread.join(WAIT_LIMIT_SECONDS)
    assert isinstance(got[0], libkv.LeaseLostError)
    found = kv.get(mine.key)
    assert found is not None
    kv.lease_revoke(found.lease)
    until = time.monotonic() + WAIT_LIMIT_SECONDS
    while mine.is_held:
        assert time.monotonic() < until
    mine.release()
    mine.acquire()
    assert mine.is_held


def test_election_from_campaign_to_resign(kv: libkv.Db) -> None:
    mine, other = kv.election("leader", 60), kv.election("leader", 60)
    leaders = mine.observe()
    assert leaders.try_next() is None
    assert leaders.next(0.01) is None
    assert mine.leader() is None
    with pytest.raises(libkv.FailedPreconditionError):
        mine.proclaim("too early")
    mine.campaign("first")
    assert mine.is_leader
    mine.campaign("second")
    found = other.leader()
    assert found is not None
    assert (found.key, found.value, found.create_revision) == (mine.key, b"second", mine.revision)
    with pytest.raises(libkv.TimeoutError):
        other.campaign("never", timeout=0.01)
    assert next(leaders).value == b"second"
    mine.proclaim("third")
    shown = leaders.next(WAIT_LIMIT_SECONDS)
    assert shown is not None
    assert shown.value == b"third"
    thread, got = in_thread(lambda: other.campaign(b"fourth"))
    until_count(kv, "leader/", 2)
    mine.resign()
    thread.join(WAIT_LIMIT_SECONDS)
    assert got == [None]
    assert not mine.is_leader
    assert next(leaders).value == b"fourth"
    leaders.close()
    assert list(leaders) == []
    with pytest.raises(libkv.ClosedError):
        leaders.next()
    kv.lease_revoke(int(other.key.rpartition(b"/")[2], 16))
    with pytest.raises(libkv.LeaseLostError):
        other.proclaim("too late")
    assert "does not lead" in repr(mine)
    wrong: Any = mine
    with pytest.raises(TypeError):
        wrong.campaign(None)


def test_lock_that_waits_ends_at_close() -> None:
    db = libkv.open(":memory:")
    mine, other = db.lock("name", 60), db.lock("name", 60)
    mine.acquire()
    thread, got = in_thread(other.acquire)
    until_count(db, "name/", 2)
    leaders = db.election("leader", 60).observe()
    observing, seen = in_thread(lambda: list(leaders))
    until_waiting(leaders)
    db.close()
    for joined in (thread, observing):
        joined.join(WAIT_LIMIT_SECONDS)
    assert isinstance(got[0], libkv.ClosedError)
    assert isinstance(seen[0], libkv.ClosedError)
    assert not mine.is_held


def test_lock_of_a_killed_process_is_freed(tmp_path: Path) -> None:
    program = """import sys, time, libkv
db = libkv.open(sys.argv[1])
lock = db.lock("name", 600)
lock.acquire()
lease = db.lease(600, end_with_process=True)
db.put("mine", lease=lease.id)
print(lock.revision, flush=True)
time.sleep(600)"""
    with libkv.open(tmp_path / "s") as db:
        process = subprocess.Popen([sys.executable, "-c", program, tmp_path / "s"], stdout=subprocess.PIPE)
        assert process.stdout
        revision = int(process.stdout.readline())
        mine = db.lock("name", 600)
        assert not mine.try_acquire()
        process.kill()
        process.wait()
        process.stdout.close()
        mine.acquire(WAIT_LIMIT_SECONDS)
        assert (mine.revision or 0) > revision
        until_count(db, "mine", 0)


def test_revision_at_a_time() -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    clock = libkv.Clock(int(noon.timestamp() * 1_000))
    with libkv.open(":memory:", clock=clock) as db:
        at = {}
        for minute in range(5):
            at[minute] = db.put("k", str(minute)).revision
            clock.advance(60_000)
        for minute, revision in at.items():
            when = noon + timedelta(minutes=minute)
            local = when.astimezone().replace(tzinfo=None)
            unix = when.timestamp()
            found = [db.revision_at(time) for time in (when, local, unix, int(unix))]
            assert found == [revision] * 4
            kv = db.get("k", revision=revision)
            assert kv is not None
            assert kv.value == str(minute).encode()
        assert db.revision_at(math.inf) == db.revision_at(1 << 80) == at[4]
        wrong: Any = db.revision_at
        for time_ in ("now", None, timedelta(1)):
            with pytest.raises(TypeError, match="datetime"):
                wrong(time_)
        with pytest.raises(ValueError, match="nan"):
            db.revision_at(math.nan)
        db.compact(at[3])
        with pytest.raises(libkv.CompactedError):
            db.revision_at(noon)


@pytest.mark.parametrize("keep", [3, timedelta(minutes=3)])
def test_auto_compaction(keep: Any) -> None:
    clock = libkv.Clock(1_700_000_000_000)
    with libkv.open(":memory:", clock=clock, auto_compaction=keep) as db:
        until = time.monotonic() + WAIT_LIMIT_SECONDS
        while (db.status().compacted_revision or 0) < 2:
            for _ in range(10):
                db.put("k", "v")
            clock.advance(60_000)
            assert time.monotonic() < until
        assert db.history("k", limit=1)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    with contextlib.suppress(RuntimeError):
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(1)
    assert threading.active_count() == 1


def test_election_is_a_context_manager_that_resigns(kv: libkv.Db) -> None:
    with kv.election("e", 60) as election:
        assert not election.is_leader
        election.campaign("me")
        assert election.is_leader
    assert not election.is_leader
    assert election.leader() is None

    def fail() -> None:
        with kv.election("e", 60) as election:
            election.campaign("me")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert election.leader() is None
    with kv.election("e", 60):
        pass
