"""aetcd_client.py HOST PORT: tests the unmodified client `aetcd` (gRPC on asyncio)."""

import asyncio
import sys

import aetcd
from checks import check, done
from grpc.aio import AioRpcError


async def key_values(client: aetcd.Client) -> None:
    check("get of a missing key", await client.get(b"never"), None)
    first = await client.put(b"k/a", b"1")
    check("put", first.header.revision, 2)
    again = await client.put(b"k/a", b"2", prev_kv=True)
    check("put, prev_kv", (again.prev_kv.value, again.prev_kv.mod_revision), (b"1", 2))
    await client.put(b"k/b", b"")
    kv = await client.get(b"k/a")
    check("get", (kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease), (b"2", 2, 3, 2, 0))
    empty = await client.get(b"k/b", serializable=True)
    check("an empty value", (empty.value, empty.version), (b"", 1))
    await client.put(b"k/c", bytes(range(256)))
    down = await client.get_prefix(b"k/", sort_order="descend", sort_target="mod")
    check("get_prefix, sorted", [kv.key for kv in down], [b"k/c", b"k/b", b"k/a"])
    check("every byte", down[0].value, bytes(range(256)))
    keys = await client.get_prefix(b"k/", keys_only=True)
    check("keys_only", [(kv.key, kv.value) for kv in keys], [(b"k/a", b""), (b"k/b", b""), (b"k/c", b"")])
    some = await client.get_range(b"k/b", b"k/c")
    check("get_range", [kv.key for kv in some], [b"k/b"])
    check("get_all", len(await client.get_all()), 3)
    check("replace, refused", await client.replace(b"k/a", b"other", b"3"), False)
    check("replace", await client.replace(b"k/a", b"2", b"3"), True)
    gone = await client.delete(b"k/b", prev_kv=True)
    check("delete, prev_kv", (gone.prev_kv.key, gone.prev_kv.value), (b"k/b", b""))
    check("delete of a missing key", await client.delete(b"k/b"), None)
    rest = await client.delete_prefix(b"k/", prev_kv=True)
    check("delete_prefix", rest.deleted, 2)


async def transactions(client: aetcd.Client) -> None:
    t = client.transactions
    await client.put(b"t/a", b"1")
    succeeded, responses = await client.transaction(
        compare=[t.value(b"t/a") == b"1", t.version(b"t/a") > 0, t.mod(b"t/b") == 0],
        success=[t.put(b"t/b", b"then"), t.get(b"t/b"), t.get(b"t/never"), t.delete(b"t/a")],
        failure=[t.put(b"t/b", b"else")],
    )
    check("txn, then", succeeded, True)
    check("txn, a get after a put of the same key", [value for value, _ in responses[1]], [b"then"])
    check("txn, a get of a missing key", responses[2], [])
    check("txn, delete", responses[3].response_delete_range.deleted, 1)
    succeeded, responses = await client.transaction(
        compare=[t.create(b"t/a") > 0], success=[], failure=[t.get(b"t/b")]
    )
    check("txn, else", (succeeded, [value for value, _ in responses[0]]), (False, [b"then"]))
    try:
        await client.transaction(compare=[], success=[t.put(b"x", b"1"), t.put(b"x", b"2")], failure=[])
        check("the same key twice", "done", "refused")
    except aetcd.ClientError as error:
        check("the same key twice", "duplicate key given in txn request" in str(error.__cause__ or error), True)
    except AioRpcError as error:
        check("the same key twice", error.details(), "etcdserver: duplicate key given in txn request")


async def watches(client: aetcd.Client) -> None:
    start = (await client.put(b"w/before", b"0")).header.revision
    watch = await client.watch_prefix(b"w/", start_revision=start, prev_kv=True)
    other = await client.watch(b"w/only", kind=aetcd.EventKind.DELETE)
    await client.put(b"w/a", b"1")
    await client.put(b"w/a", b"2")
    await client.put(b"w/only", b"1")
    await client.delete(b"w/only")
    await client.put(b"w/end", b"")
    seen = []
    async for event in watch:
        before = event.prev_kv.value if event.prev_kv is not None else None
        seen.append((str(event.kind), event.kv.key, event.kv.value, before))
        if event.kv.key == b"w/end":
            break
    check("watch_prefix from a revision", seen, [
        ("PUT", b"w/before", b"0", b""),
        ("PUT", b"w/a", b"1", b""),
        ("PUT", b"w/a", b"2", b"1"),
        ("PUT", b"w/only", b"1", b""),
        ("DELETE", b"w/only", b"", b"1"),
        ("PUT", b"w/end", b"", b""),
    ])
    async for event in other:
        check("watch, deletes only", (str(event.kind), event.kv.key), ("DELETE", b"w/only"))
        break
    await other.cancel()
    await watch.cancel()
    once = asyncio.create_task(client.watch_once(b"w/once", timeout=20))
    while not once.done():
        await client.put(b"w/once", b"x")
        await asyncio.sleep(0.01)
    check("watch_once", (await once).kv.value, b"x")
    await client.compact((await client.get(b"w/a")).mod_revision)
    try:
        old = await client.watch(b"w/a", start_revision=2)
        async for _ in old:
            break
        check("watch of the compacted past", "an event", "RevisionCompactedError")
    except aetcd.RevisionCompactedError as error:
        check("watch of the compacted past", error.compacted_revision > 2, True)


async def leases(client: aetcd.Client) -> None:
    lease = await client.lease(60)
    check("lease", (lease.ttl, lease.id > 0), (60, True))
    await client.put(b"l/a", b"1", lease=lease)
    check("the key has the id of the lease", (await client.get(b"l/a")).lease, lease.id)
    check("the keys of the lease", list(await lease.keys()), [b"l/a"])
    check("the TTL of the lease", (await lease.granted_ttl(), 50 < await lease.remaining_ttl() <= 60), (60, True))
    check("refresh", (await lease.refresh()).TTL, 60)
    chosen = await client.lease(60, lease_id=4711)
    check("a chosen id", chosen.id, 4711)
    try:
        await client.lease(60, lease_id=4711)
        check("an id in use", "granted", "refused")
    except aetcd.DuplicateLeaseError:
        check("an id in use", True, True)
    except aetcd.ClientError as error:
        check("an id in use", "lease already exists" in str(error.__cause__ or error), True)
    await lease.revoke()
    check("revoked with its keys", await client.get(b"l/a"), None)
    short = await client.lease(1)
    watch = await client.watch(b"l/short")
    await client.put(b"l/short", b"1", lease=short)
    kinds = []
    async for event in watch:
        kinds.append(str(event.kind))
        if len(kinds) == 2:
            break
    check("the lease expires", kinds, ["PUT", "DELETE"])
    await chosen.revoke()


async def locks_and_maintenance(client: aetcd.Client) -> None:
    async with client.lock(b"lock", ttl=20) as lock:
        check("a lock", await lock.is_acquired(), True)
        other = client.lock(b"lock", ttl=20)
        try:
            check("a lock in use", await other.acquire(timeout=0.1), False)
        except asyncio.TimeoutError:
            check("a lock in use", False, False)
    status = await client.status()
    check("status", (status.version in ("3.5.1", "3.7.3"), status.db_size > 0), (True, True))
    members = [member async for member in client.members()]
    check("members", (len(members), members[0].id), (1, status.leader.id))
    check("alarms", [alarm async for alarm in client.list_alarms()], [])


async def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    async with aetcd.Client(host=host, port=port, timeout=20) as client:
        await key_values(client)
        await transactions(client)
        await watches(client)
        await leases(client)
        await locks_and_maintenance(client)
    done("aetcd")


asyncio.run(main())
