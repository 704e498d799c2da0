"""A served store and clusters: the same calls over the network, without blocking the loop."""

import asyncio
import gc
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import libkv
import libkv.aio
import pytest
from conftest import Gate

WAIT_LIMIT_SECONDS = 20


@pytest.fixture
def cluster(kv_server: libkv.Server) -> Iterator[libkv.Db]:
    with libkv.open(kv_server.address) as db:
        yield db


def test_calls_over_the_network(cluster: libkv.Db) -> None:
    assert cluster.put("a", "1").revision == 2
    found = cluster.get("a")
    assert found is not None
    assert found.value == b"1"
    assert cluster.get("a", revision=1) is None
    buffer = bytearray(1)
    assert cluster.get_into("a", buffer) == 1
    assert buffer == b"1"
    cluster.put("b", b"x" * 2_000, prev_kv=True)
    assert cluster.get_into("b", buffer) == 2_000
    assert cluster.get_into("c", buffer) is None
    assert [kv.key for kv in cluster.range(prefix="")] == [kv.key for kv in cluster.scan()] == [b"a", b"b"]
    assert cluster.txn(compare=[libkv.Compare.version("a", "==", 1)], success=[libkv.Put("c", "3")]).succeeded
    assert cluster.txn(success=[libkv.Range("c")]).responses[0]
    assert cluster.transact(lambda t: t.put("d", t.get("a").value)) is None  # type: ignore[union-attr]
    with cluster.snapshot() as snapshot:
        assert cluster.delete(prefix="").deleted == 4
        assert snapshot.get("d")
        assert len(snapshot.range()) == len(list(snapshot.scan())) == 4
    assert [event.type for event in cluster.events(1, 3)] == ["put", "put"]
    assert [change.key for change in cluster.diff(1, 2)] == [b"a"]
    assert [event.type for event in cluster.history("a")] == ["delete", "put"]
    granted = cluster.lease_grant(60)
    assert cluster.lease_keep_alive(granted.id).ttl_seconds == 60
    assert cluster.lease_time_to_live(granted.id, keys=True).granted_ttl_seconds == 60
    assert granted.id in cluster.lease_list()
    cluster.lease_revoke(granted.id)
    with cluster.lease(60) as lease:
        assert lease.remaining > 0
    with cluster.lock("lock", 60) as lock:
        assert lock.is_held
        assert not cluster.lock("lock", 60).try_acquire()
        with pytest.raises(libkv.TimeoutError, match="has it"):
            cluster.lock("lock", 60).acquire(0)
    election = cluster.election("e", 60)
    election.campaign("me")
    leader = election.leader()
    assert leader is not None
    assert leader.value == b"me"
    with election.observe() as leaders:
        assert leaders.next(WAIT_LIMIT_SECONDS) == leader
    assert cluster.compact(3).revision == cluster.status().revision
    with pytest.raises(libkv.CompactedError) as compacted:
        cluster.get("a", revision=2)
    assert compacted.value.revision == 3
    for unsupported in (cluster.check, lambda: cluster.revision_at(0)):
        with pytest.raises(libkv.UnsupportedError):
            unsupported()
    cluster.close()
    with pytest.raises(libkv.ClosedError):
        cluster.get("a")


def test_watch_has_the_writes_of_both_sides(kv_etcd: libkv.Db, cluster: libkv.Db) -> None:
    with cluster.watch(prefix="") as watcher:
        kv_etcd.put("here", "1")
        assert watcher.next(WAIT_LIMIT_SECONDS).events[0].kv.key == b"here"  # type: ignore[union-attr]
    with kv_etcd.watch(prefix="") as watcher:
        cluster.put("there", "1")
        assert watcher.next(WAIT_LIMIT_SECONDS).events[0].kv.key == b"there"  # type: ignore[union-attr]


def test_calls_over_the_network_in_aio(kv_server: libkv.Server) -> None:
    async def main() -> None:
        async with libkv.aio.open(kv_server.address) as cluster:
            await cluster.put("a", "1")
            assert (await cluster.get("a")).value == b"1"  # type: ignore[union-attr]
            assert await cluster.get("a", revision=1) is None
            buffer = bytearray(1)
            assert await cluster.get_into("a", buffer) == 1
            assert buffer == b"1"
            for n in range(200):
                await cluster.put(f"n/{n:03}", "")
            assert len(await cluster.range(prefix="n/")) == len([kv async for kv in cluster.scan(prefix="n/")]) == 200
            assert (await cluster.txn(success=[libkv.Range("a")])).succeeded

            async def copy(t: libkv.aio.Transaction) -> None:
                await t.put("b", (await t.get("a")).value)  # type: ignore[union-attr]

            await cluster.transact(copy)

            def copy_again(t: libkv.Transaction) -> None:
                t.put("c", t.get("b").value)  # type: ignore[union-attr]

            await cluster.transact(copy_again)
            async with cluster.snapshot() as snapshot:
                assert (await cluster.delete(prefix="n/")).deleted == 200
                assert await snapshot.get("n/000")
                assert len([kv async for kv in snapshot.scan(prefix="n/")]) == 200
            assert [event.type async for event in cluster.events(1, 2)] == ["put"]
            assert [change.key async for change in cluster.diff(1, 2)] == [b"a"]
            async with cluster.lease(60) as lease:
                assert (await cluster.lease_time_to_live(lease.id)).ttl_seconds > 0
                with pytest.raises(libkv.UnsupportedError, match="lease_time_to_live"):
                    _ = lease.remaining
            async with cluster.lock("lock", 60) as lock:
                assert lock.is_held
                other = cluster.lock("lock", 60)
                assert not await other.try_acquire()
                with pytest.raises(libkv.TimeoutError, match="has it"):
                    await other.acquire(0.01)
                waits = asyncio.create_task(other.acquire())
                await lock.release()
                await asyncio.wait_for(waits, WAIT_LIMIT_SECONDS)
                await other.release()
            election = cluster.election("e", 60)
            async with election.observe() as leaders:
                await election.campaign("me")
                assert (await leaders.next(WAIT_LIMIT_SECONDS)).value == b"me"  # type: ignore[union-attr]
                with pytest.raises(libkv.UnsupportedError, match="next"):
                    leaders.try_next()
            await election.resign()
            assert (await cluster.status()).revision > 200
            assert isinstance(await cluster.lease_list(), list)

    asyncio.run(main())


def test_loop_is_not_blocked_by_a_cluster(gate: Gate) -> None:
    """The proxy is shut during each call. A call that blocks the loop would never end."""

    async def main() -> None:
        async with libkv.aio.open(gate.address, request_timeout_ms=math.inf) as cluster:
            await cluster.put("a", "1")
            granted = await cluster.lease_grant(60)
            snapshot = await cluster.snapshot()
            election = cluster.election("e", 60)
            gate.shut()
            watcher, leaders, scan = cluster.watch(prefix=""), election.observe(), cluster.scan(prefix="")
            calls: list[Any] = [
                cluster.get("a"),
                cluster.get_into("a", bytearray(8)),
                cluster.range(prefix=""),
                anext(scan),
                anext(cluster.diff(1, 2)),
                anext(cluster.events(1)),
                cluster.put("b", "2"),
                cluster.delete("c"),
                cluster.txn(success=[libkv.Range("a")]),
                cluster.transact(lambda t: t.get("a")),
                cluster.snapshot(),
                snapshot.get("a"),
                snapshot.range(),
                cluster.history("a"),
                cluster.status(),
                cluster.lease_grant(60),
                cluster.lease_keep_alive(granted.id),
                cluster.lease_time_to_live(granted.id),
                cluster.lease_list(),
                cluster.lock("lock", 60).acquire(),
                cluster.lock("other", 60).try_acquire(),
                election.campaign("me"),
                leaders.next(),
                watcher.next(),
                libkv.aio.open(gate.address),
            ]
            tasks = [asyncio.ensure_future(call) for call in calls]
            assert watcher.try_next() is None
            await asyncio.to_thread(gate.waiting.wait)
            done, _ = await asyncio.wait(tasks, timeout=0)
            assert not done
            gate.passable.set()
            responses: list[Any] = await asyncio.wait_for(asyncio.gather(*tasks), 3 * WAIT_LIMIT_SECONDS)
            await responses[-1].close()
            # an event written after watch() is delivered, although both arrive at the same time
            assert b"b" in {event.kv.key for event in responses[-2].events} | await keys_until(watcher, b"b")
            assert responses[0].value == b"1"

    async def keys_until(watcher: libkv.aio.Watcher, key: bytes) -> set[bytes]:
        keys: set[bytes] = set()
        while key not in keys and (batch := await watcher.next(0.5)):
            keys |= {event.kv.key for event in batch.events}
        return keys

    asyncio.run(main())


def test_watcher_that_is_being_created_can_be_ended(gate: Gate) -> None:
    async def main() -> None:
        async with libkv.aio.open(gate.address) as cluster:
            gate.shut()
            cancelled, closed, waits = (cluster.watch("a", start_revision=7) for _ in range(3))
            assert cancelled.resume_revision == 7
            task = asyncio.create_task(cancelled.next())
            await asyncio.sleep(0)
            threading.Thread(target=cancelled.cancel).start()
            with pytest.raises(libkv.CancelledError):
                await asyncio.wait_for(task, WAIT_LIMIT_SECONDS)
            closed.close()
            with pytest.raises(libkv.ClosedError):
                closed.try_next()
            assert [batch async for batch in closed] == []
            assert await waits.next(0) is None
            with pytest.raises(libkv.FailedPreconditionError):
                waits.fileno()
            gate.passable.set()
            assert await waits.next(0.01) is None
            await cluster.put("b", "")
            assert waits.fileno() >= 0
            backwards = cluster.watch(start="b", end="a")
            with pytest.raises(libkv.InvalidArgumentError):
                await backwards.next(WAIT_LIMIT_SECONDS)
            with pytest.raises(libkv.InvalidArgumentError):
                async with cluster.watch(start="b", end="a"):
                    pass
            assert not cluster._opening

    asyncio.run(main())


class Interrupted(Exception):  # noqa: N818
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def ring(_: int, __: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_ctrl_c_ends_the_opening_of_a_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            libkv.open(address, connect_timeout_ms=600_000)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.get("a"),
        lambda db: db.range(prefix=""),
        lambda db: db.status(),
        lambda db: db.lease_list(),
        lambda db: db.watch(prefix=""),
        lambda db: db.put("b", "1"),
        lambda db: db.lease(60),
        lambda db: db.lock("lock", 60).acquire(),
        lambda db: db.election("e", 60).campaign("me"),
    ],
)
def test_ctrl_c_ends_a_call(gate: Gate, call: Any) -> None:
    with libkv.open(gate.address, request_timeout_ms=600_000) as cluster:
        gate.shut()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            call(cluster)
        gate.passable.set()
        cluster.put("a", "1")


@pytest.mark.usefixtures("alarm")
def test_ctrl_c_ends_a_read_of_the_leader(gate: Gate) -> None:
    with libkv.open(gate.address, request_timeout_ms=600_000) as cluster:
        leaders = cluster.election("e", 60).observe()
        gate.shut()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            leaders.next()
        gate.passable.set()


SILENT: dict[str, Any] = {"request_timeout_ms": 60_000, "keep_alive_ms": math.inf}
"""A call without a limit of its caller fails only after a minute, with another error."""


def test_timeout_of_the_caller_limits_each_request(gate: Gate) -> None:
    with libkv.open(gate.address, **SILENT) as cluster:
        election = cluster.election("e", 60)
        leaders = election.observe()
        gate.shut()
        with pytest.raises(libkv.TimeoutError, match="within 300 ms"):
            cluster.lock("lock", 60).acquire(0.3)
        with pytest.raises(libkv.TimeoutError, match="within 300 ms"):
            election.campaign("me", 0.3)
        assert leaders.next(0.3) is None
        gate.passable.set()
        election.campaign("me")
        assert leaders.next(WAIT_LIMIT_SECONDS).value == b"me"  # type: ignore[union-attr]


def test_timeout_of_the_caller_limits_each_request_in_aio(gate: Gate) -> None:
    async def main() -> None:
        async with await libkv.aio.open(gate.address, **SILENT) as cluster:
            election = cluster.election("e", 60)
            gate.shut()
            with pytest.raises(libkv.TimeoutError, match="within 300 ms"):
                await cluster.lock("lock", 60).acquire(0.3)
            with pytest.raises(libkv.TimeoutError, match="within 300 ms"):
                await election.campaign("me", 0.3)
            gate.passable.set()
            await election.campaign("me")
            async with election.observe() as leaders:
                gate.shut()
                assert await leaders.next(0.3) is None
                gate.passable.set()
                assert (await leaders.next(WAIT_LIMIT_SECONDS)).value == b"me"  # type: ignore[union-attr]

    asyncio.run(main())


def test_cluster_that_does_not_exist_is_unavailable_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    with pytest.raises(libkv.UnavailableError, match=f"127.0.0.1:{dead}"):
        libkv.open(f"etcd://127.0.0.1:{dead}", connect_timeout_ms=2_000)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"create": False}, libkv.InvalidArgumentError, "create"),
        ({"tls_ca": "/nowhere"}, libkv.InvalidArgumentError, "TLS"),
        ({"tls_ca": 5}, TypeError, "tls_ca"),
        ({"user": b"me"}, TypeError, "user"),
        ({"connect_timeout_ms": -1}, OverflowError, "connect_timeout_ms"),
        ({"tls_keys": "x"}, TypeError, "did you mean"),
    ],
)
def test_cluster_refuses_options_of_a_store(
    kv_server: libkv.Server, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        libkv.open(kv_server.address, **options)


def test_server_starts_and_ends(kv: libkv.Db, tmp_path: Path) -> None:
    with libkv.serve(kv) as server:
        assert repr(server) == f"<libkv.Server at {server.address}>"
        cluster = libkv.open(server.address, request_timeout_ms=2_000)
        with pytest.raises(libkv.BusyError):
            libkv.serve(kv, server.address)
        with pytest.raises(libkv.UnsupportedError):
            libkv.serve(cluster)
    server.close()
    assert server.closed
    with pytest.raises(libkv.Error):
        cluster.put("a", "1")
    cluster.close()
    address = f"unix://{tmp_path}/socket"
    with libkv.serve(kv, address) as server, libkv.open(address) as cluster:
        assert server.address == address
        cluster.put("a", "1")
        # the store is closed first: clients get errors, and the server continues
        kv.close()
        with pytest.raises(libkv.Error):
            cluster.put("a", "2")
    with pytest.raises(libkv.ClosedError):
        libkv.serve(kv)
    for wrong in (None, "127.0.0.1:0", object()):
        with pytest.raises(TypeError):
            libkv.serve(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "options", "error", "words"),
    [
        ("127.0.0.1", {}, libkv.InvalidArgumentError, "port"),
        ("https://127.0.0.1:0", {}, libkv.InvalidArgumentError, "cert"),
        ("https://127.0.0.1:0", {"cert_file": "/nowhere", "key_file": "/nowhere"}, libkv.Error, "/nowhere"),
        (5, {}, TypeError, "address"),
        ("127.0.0.1:0", {"cert_fil": "x"}, TypeError, "did you mean"),
        ("127.0.0.1:0", {"client_cert_auth": 1}, TypeError, "client_cert_auth"),
    ],
)
def test_serve_refuses_wrong_arguments(
    kv: libkv.Db, address: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        libkv.serve(kv, address, **options)


def test_server_that_is_dropped_ends(kv: libkv.Db) -> None:
    server = libkv.serve(kv)
    address = server.address
    del server
    gc.collect()
    with pytest.raises(libkv.UnavailableError):
        libkv.open(address, connect_timeout_ms=2_000)
    kv.put("a", "1")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # from Python 3.12 on
def test_fork_does_not_end_server_and_cluster_of_the_parent(kv_server: libkv.Server, cluster: libkv.Db) -> None:
    cluster.put("a", "1")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                cluster.get("a")
            except libkv.ForkedError:
                with libkv.open(kv_server.address) as own:
                    status = 0 if own.get("a") else 2
            kv_server.close()
            cluster.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cluster.get("a")


def test_threads_share_a_cluster(cluster: libkv.Db) -> None:
    threads = [threading.Thread(target=lambda n=n: [cluster.put(f"{n}/{i}") for i in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cluster.range(prefix="", count_only=True).count == 160


def test_serve_in_aio(kv: libkv.Db) -> None:
    async def main() -> None:
        db = libkv.aio.Db(kv)
        async with libkv.aio.serve(db) as server, libkv.aio.open(server.address) as cluster:
            assert "libkv.aio.Server" in repr(server)
            await cluster.put("a", "1")
            assert await db.get("a")
        assert server.closed
        await server.close()

    asyncio.run(main())


def test_limits_are_the_lower_of_handle_and_server() -> None:
    mib = 1 << 20
    puts = [libkv.Put(f"k{n}", "v") for n in range(200)]
    with libkv.open(":memory:", max_request_bytes=4 * mib, max_txn_ops=200) as db:
        with libkv.serve(db) as server, libkv.open(server.address) as client:
            client.put("k", bytes(3 * mib))
            client.txn(success=puts)
            with pytest.raises(libkv.TooLargeError):
                client.put("k", bytes(4 * mib))
        with (
            libkv.serve(db, max_request_bytes=mib, max_txn_ops=199) as server,
            libkv.open(server.address) as client,
        ):
            with pytest.raises(libkv.TooLargeError):
                client.put("k", bytes(mib))
            with pytest.raises(libkv.TooManyOpsError):
                client.txn(success=puts)
            db.put("k", bytes(3 * mib))
        for wrong in ("1", 1.5, -1):
            with pytest.raises((TypeError, OverflowError), match="max_request_bytes"):
                libkv.serve(db, max_request_bytes=wrong)  # type: ignore[arg-type]
