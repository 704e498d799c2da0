"""Misuse of handles raises exceptions and never crashes.

A program that may crash runs in a new process.
"""

import gc
import itertools
import math
import select
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libkv
import pytest
from conftest import Future, Holder
from libkv import _libkv


def handles(db: libkv.Db) -> dict[str, Any]:
    """One handle of each kind, in use."""
    scan = db.scan()
    next(scan)
    return {
        "snapshot": db.snapshot(),
        "scan": scan,
        "events": db.events(1),
        "changes": db.diff(1),
        "range": db.range(),
        "watcher": db.watch(),
        "lease": db.lease(60),
        "lock": db.lock("lock", 60),
        "election": db.election("election", 60),
        "leaders": db.election("election", 60).observe(),
    }


def calls(db: libkv.Db, made: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Every call that needs the store."""
    return {
        "put": lambda: db.put("k", "v"),
        "get": lambda: db.get("k"),
        "get at": lambda: db.get("k", revision=2),
        "get_into": lambda: db.get_into("k", bytearray(9)),
        "range": db.range,
        "scan": lambda: next(db.scan()),
        "delete": lambda: db.delete("k"),
        "txn": lambda: db.txn(success=[libkv.Put("k")]),
        "txn that reads": lambda: db.txn(success=[libkv.Range("k")]),
        "transact": lambda: db.transact(lambda t: t.get("k")),
        "compact": lambda: db.compact(2),
        "snapshot": db.snapshot,
        "snapshot_at": lambda: db.snapshot_at(2),
        "history": lambda: db.history("k"),
        "changes": lambda: next(db.events(1)),
        "diff": lambda: next(db.diff(1)),
        "status": db.status,
        "check": db.check,
        "enter": db.__enter__,
        "snapshot.get": lambda: made["snapshot"].get("k"),
        "snapshot.range": made["snapshot"].range,
        "snapshot.scan": lambda: next(made["snapshot"].scan()),
        "scan.next": lambda: next(made["scan"]),
        "events.next": lambda: next(made["events"]),
        "changes.next": lambda: next(made["changes"]),
        "revision_at": lambda: db.revision_at(0),
        "watch": db.watch,
        "lease_grant": lambda: db.lease_grant(60),
        "lease_revoke": lambda: db.lease_revoke(1),
        "lease_keep_alive": lambda: db.lease_keep_alive(1),
        "lease_time_to_live": lambda: db.lease_time_to_live(1),
        "lease_list": db.lease_list,
        "lease": lambda: db.lease(60),
        "lock": lambda: db.lock("k", 60),
        "election": lambda: db.election("k", 60),
        "watcher.next": made["watcher"].next,
        "watcher.try_next": made["watcher"].try_next,
        "watcher.iterate": lambda: next(made["watcher"]),
        "watcher.fileno": made["watcher"].fileno,
        "watcher.enter": made["watcher"].__enter__,
        "lease.remaining": lambda: made["lease"].remaining,
        "lease.enter": made["lease"].__enter__,
        "lock.acquire": made["lock"].acquire,
        "lock.try_acquire": made["lock"].try_acquire,
        "lock.release": made["lock"].release,
        "election.campaign": lambda: made["election"].campaign("v"),
        "election.proclaim": lambda: made["election"].proclaim("v"),
        "election.leader": made["election"].leader,
        "election.observe": made["election"].observe,
        "election.resign": made["election"].resign,
        "leaders.next": made["leaders"].next,
        "leaders.iterate": lambda: next(made["leaders"]),
        "leaders.enter": made["leaders"].__enter__,
    }


def test_close_makes_every_call_return_closed(kv: libkv.Db) -> None:
    for number in range(3_000):
        kv.put(f"k{number:04}", "v")
    made = handles(kv)
    kept: list[libkv.Transaction] = []
    kv.transact(kept.append)
    kv.close()
    kv.close()
    assert kv.closed
    assert "closed" in repr(kv)
    every = calls(kv, made)
    every["transaction"] = lambda: kept[0].get("k")
    for name, call in every.items():
        with pytest.raises(libkv.ClosedError):
            pytest.fail(f"{name} returned {call()!r}")
    assert len(made["range"]) == 3_000, "a response stays readable after close()"


def test_close_of_one_of_two_handles(tmp_path: Path) -> None:
    first, second = libkv.open(tmp_path / "s"), libkv.open(tmp_path / "s")
    first.close()
    second.put("k", "v")
    with pytest.raises(libkv.ClosedError):
        first.get("k")
    second.close()


@pytest.mark.parametrize("order", list(itertools.permutations(["db", "watcher", "lease", "lock", "leaders"])))
def test_handles_are_collected_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    db = libkv.open(tmp_path / "s")
    db.put("k", "v")
    made: dict[str, Any] = {"db": db, **handles(db)}
    del db
    for name in order:
        del made[name]
        gc.collect()
    made.clear()
    with libkv.open(tmp_path / "s", create=False) as again:
        assert again.get("k")


def test_store_stays_open_while_children_live(tmp_path: Path) -> None:
    snapshot = libkv.open(tmp_path / "s").snapshot()
    gc.collect()
    assert snapshot.get("k") is None


def test_close_from_another_thread_while_all_calls_run(tmp_path: Path) -> None:
    for number in range(10):
        db = libkv.open(tmp_path / str(number), durability="lazy")
        db.put("k", "v")
        wrong: list[BaseException] = []

        def work(call: Callable[[], Any], wrong: list[BaseException] = wrong) -> None:
            while True:
                try:
                    call()
                except (libkv.LeaseNotFoundError, libkv.FailedPreconditionError, libkv.LeaseLostError):
                    continue  # no such lease; not the leader; another thread resigned
                except libkv.InvalidArgumentError as error:
                    if "another thread" not in str(error):
                        wrong.append(error)
                        return
                except (libkv.ClosedError, StopIteration):
                    return
                except libkv.CompactedError:
                    return  # already compacted, by another thread or by this one
                except BaseException as error:  # noqa: BLE001
                    wrong.append(error)
                    return

        def endless(db: libkv.Db = db) -> None:
            for _ in db.scan():
                pass

        every = [*calls(db, handles(db)).values(), endless]
        threads = [threading.Thread(target=work, args=(call,)) for call in every]
        for thread in threads:
            thread.start()
        for _ in range(20):
            db.get("k")
        db.close()
        for thread in threads:
            thread.join()
        assert not wrong


def test_scan_in_many_threads_gives_each_pair_once(kv: libkv.Db) -> None:
    kv.txn(success=[libkv.Put(f"{number:05}") for number in range(20_000)])
    scan = kv.scan()
    taken: list[bytes] = []
    threads = [threading.Thread(target=lambda: taken.extend(found.key for found in scan)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [b"%05d" % number for number in range(20_000)]


def ends_well(program: str, *arguments: Any, status: int = 0) -> str:
    """Run a program in a new process. It must end without an error."""
    code = textwrap.dedent(program)
    command = [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    for bad in ("panicked", "Fatal", "Traceback", "FATAL"):
        assert bad not in done.stderr, done.stderr
    return done.stdout


def test_fork_makes_every_call_return_forked(tmp_path: Path) -> None:
    program = """
        import gc, os, sys, threading, warnings
        warnings.simplefilter("ignore")
        sys.path.insert(0, sys.argv[2])
        import libkv
        from test_misuse import calls, handles

        db = libkv.open(sys.argv[1])
        db.put("k", "v")
        made = handles(db)
        made["lock"].acquire()
        def wait():
            try:
                next(db.watch("never"))
            except libkv.ClosedError:
                pass
        waiting = threading.Thread(target=wait)
        waiting.start()
        child = os.fork()
        if child == 0:
            for name, call in calls(db, made).items():
                try:
                    sys.exit(f"{name} returned {call()!r}")
                except libkv.Error as error:
                    if error.code != ("closed" if name == "enter" else "forked"):
                        sys.exit(f"{name}: {error.code}")
            assert db.closed
            assert not made["lock"].is_held
            for name in ("watcher", "leaders", "lease"):
                made[name].close()
            db.close()
            with libkv.open(sys.argv[1]) as own:
                own.put("child", "was here")
            made.clear()
            del db
            gc.collect()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert db.get("child")
        assert next(made["scan"], None) is None
        assert made["lock"].is_held and not made["lease"].lost
        assert made["watcher"].next(60).revision > 2
        db.close()
        waiting.join()
    """
    ends_well(program, tmp_path / "s", Path(__file__).parent)


def test_fork_while_threads_read_and_write(tmp_path: Path) -> None:
    program = """
        import os, sys, threading, warnings
        warnings.simplefilter("ignore")
        import libkv

        db = libkv.open(sys.argv[1], durability="lazy")
        db.put("k", "v")
        scan = db.scan()
        stop = threading.Event()
        def work(call):
            while not stop.is_set():
                call()
        threads = [threading.Thread(target=work, args=(call,))
                   for call in (lambda: db.put("k", "v"), lambda: db.get("k"), lambda: next(scan, None), db.status)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                for call in (lambda: db.get("k"), lambda: db.put("k"), lambda: next(scan), db.status):
                    try:
                        call()
                    except libkv.ForkedError:
                        continue
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        db.close()
    """
    ends_well(program, tmp_path / "s")


def test_multiprocessing_by_fork_and_by_spawn(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing, sys, warnings
            warnings.simplefilter("ignore")
            import libkv

            def work(path, number):
                with libkv.open(path) as db:
                    db.put(f"from/{number}", "v")

            if __name__ == "__main__":
                for method in ("fork", "spawn"):
                    context = multiprocessing.get_context(method)
                    with libkv.open(sys.argv[1]) as db:
                        processes = [context.Process(target=work, args=(sys.argv[1], n)) for n in range(3)]
                        for process in processes:
                            process.start()
                        for process in processes:
                            process.join()
                            assert process.exitcode == 0
                        assert db.range(prefix="from/").count == 3
        """)
    )
    done = subprocess.run([sys.executable, script, tmp_path / "s"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


AT_EXIT = """
    import asyncio, sys, threading, math, time
    import libkv, libkv.aio
    db = libkv.open(sys.argv[1], durability="lazy", busy_timeout_ms=math.inf)
"""


@pytest.mark.parametrize(
    "program",
    [
        "scan = db.scan(); snapshot = db.snapshot()",
        "cycle = [db]; cycle.append(cycle)",
        "sys.modules['kept'] = db",
        "db.put('k'); db.put('l'); db.compact(3)",  # a compaction runs in the background
        """
    def work():
        while True:
            db.put("k", "v")
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(100):
        db.put("m", "v")
    class Slow:  # the writes of the threads return while the interpreter is ending
        def __del__(self, sleep=time.sleep):
            sleep(0.3)
    sys.slow = Slow()
        """,
        """
    def work():
        while True:
            db.range(); db.get("k"); list(db.scan())
    db.txn(success=[libkv.Put(str(n)) for n in range(2_000)])
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(100):
        db.get("m")
    class Slow:
        def __del__(self, sleep=time.sleep):
            sleep(0.3)
    sys.slow = Slow()
        """,
        """
    async def main():
        adb = libkv.aio.Db(db)
        for n in range(200):
            asyncio.ensure_future(adb.put(f"k{n}", "v"))
        await asyncio.sleep(0)
    asyncio.run(main())
        """,
        """
    loop = asyncio.new_event_loop()
    async def main():
        adb = libkv.aio.Db(db)
        global tasks
        tasks = [loop.create_task(adb.put(f"k{n}", "v")) for n in range(200)]
        await asyncio.sleep(0)
    loop.run_until_complete(main())
    import os, atexit
    atexit.register(lambda: [task.cancel() for task in tasks])
    import logging; logging.disable()
        """,
        """
    import atexit
    atexit.register(lambda: db.put("last", "word"))
        """,
        """
    watcher, lock, other = db.watch(), db.lock("name", 60), db.lock("name", 60)
    leaders, lease = db.election("name", 60).observe(), db.lease(60)
    lease.on_lost(lambda: print("lost"))
    lock.acquire()
    for wait in (watcher.next, other.acquire, leaders.next, lambda: list(db.watch())):
        threading.Thread(target=wait, daemon=True).start()
    while db.range(prefix="name/", count_only=True).count < 2 or db.status().watchers < 2:
        time.sleep(0.001)  # until the threads wait; the time-out of the program is the deadline
    class Slow:  # the threads are woken, and a lease is lost, while the interpreter is ending
        def __del__(self, sleep=time.sleep, db=db, lease=lease, lock=lock):
            db.lease_revoke(lease.id)
            db.put("k", "v")
            sleep(0.1)
            lock.release()
            sleep(0.1)
            db.close()
            sleep(0.1)
    sys.slow = Slow()
    del db, lease, lock
        """,
        """
    async def main():
        adb = libkv.aio.Db(db)
        async def follow():
            async for _ in adb.watch():
                pass
        global tasks
        tasks = [asyncio.ensure_future(follow()) for _ in range(100)]
        tasks.append(asyncio.ensure_future(adb.lock("name", 60).acquire()))
        lease = await adb.lease(60)
        lease.on_lost(lambda: print("lost"))
        await asyncio.sleep(0.01)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    import logging; logging.disable()
    class Late:
        def __del__(self):
            db.put("k", "v")
    sys.late = Late()
        """,
        """
    class Late:
        def __del__(self):
            db.get("k")
            db.put("k", "v")
            db.close()
    late = Late()
        """,
    ],
)
def test_interpreter_ends_with_work_in_flight(tmp_path: Path, program: str) -> None:
    ends_well(AT_EXIT + "    " + program.strip("\n").lstrip(), tmp_path / "s")
    with libkv.open(tmp_path / "s", create=False) as db:
        assert db.check().problems == []


def test_interpreter_ends_while_a_daemon_thread_waits_for_the_lock(holder: Holder) -> None:
    program = (
        AT_EXIT
        + """
    began = threading.Event()
    def work():
        began.set()
        db.put("k", "v")
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    began.wait()
    """
    )
    ends_well(program, holder.path)


def test_sub_interpreter_gets_an_import_error() -> None:
    program = """
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            try:
                import _interpreters as interpreters
            except ImportError:
                sys.exit(0)
        import libkv
        made = interpreters.create()
        code = "try: import libkv\\nexcept ImportError as error: print('refused:', error, flush=True)"
        import sys
        sys.stdout.flush()
        interpreters.run_string(made, code)
        interpreters.destroy(made)
        with libkv.open(":memory:") as db:
            db.put("k", "v")
    """
    assert "refused" in ends_well(program)


def test_close_within_transact(kv: libkv.Db) -> None:
    def body(t: libkv.Transaction) -> None:
        t.put("k", "v")
        kv.close()

    with pytest.raises(libkv.ClosedError):
        kv.transact(body)


def test_close_within_an_iterable(kv: libkv.Db) -> None:
    def operations() -> Any:
        yield libkv.Put("k")
        kv.close()

    with pytest.raises(libkv.ClosedError):
        kv.txn(success=operations())


def test_scan_reentrant_iteration(kv: libkv.Db) -> None:
    kv.txn(success=[libkv.Put(f"{number:03}") for number in range(300)])
    scan = kv.scan()
    assert [a.key < b.key for a, b in zip(scan, scan, strict=True)] == [True] * 150


def test_threads_run_while_the_last_handle_is_dropped(holder: Holder) -> None:
    """Closing waits for a queued write of another process, without the interpreter."""
    db = libkv.open(holder.path, busy_timeout_ms=math.inf)
    mailbox, future = _libkv._Mailbox(), Future()
    db._submit(libkv.Put("k", "v"), mailbox, future)
    release = threading.Timer(0.1, holder.release)  # runs only if closing releases the interpreter
    release.start()
    del db
    gc.collect()
    release.join()
    select.select([mailbox.fileno()], [], [])
    mailbox.resolve()
    assert isinstance(future.response, libkv.PutResponse)
