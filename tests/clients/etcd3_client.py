"""etcd3_client.py HOST PORT: tests the unmodified client `etcd3` (gRPC on threads)."""

import sys

import etcd3
import grpc
from checks import check, done

PUT, DELETE = etcd3.events.PutEvent, etcd3.events.DeleteEvent


def key_values(client: etcd3.Etcd3Client) -> None:
    check("get of a missing key", client.get("never"), (None, None))
    check("put", client.put("k/a", "1").header.revision, 2)
    check("put, prev_kv", client.put("k/a", "2", prev_kv=True).prev_kv.value, b"1")
    value, meta = client.get("k/a")
    check("get", (value, meta.create_revision, meta.mod_revision, meta.version), (b"2", 2, 3, 2))
    check("put_if_not_exists, refused", client.put_if_not_exists("k/a", "3"), False)
    check("put_if_not_exists", client.put_if_not_exists("k/b", ""), True)
    check("an empty value", client.get("k/b")[0], b"")
    check("replace", (client.replace("k/a", "x", "3"), client.replace("k/a", "2", "3")), (False, True))
    pairs = [(meta.key, value) for value, meta in client.get_prefix("k/", sort_order="descend")]
    check("get_prefix", pairs, [(b"k/b", b""), (b"k/a", b"3")])
    response = client.get_prefix_response("k/", keys_only=True)
    check("keys_only", [(kv.key, kv.value) for kv in response.kvs], [(b"k/a", b""), (b"k/b", b"")])
    check("get_range", [meta.key for _, meta in client.get_range("k/a", "k/b")], [b"k/a"])
    check("get_all", len(list(client.get_all())), 2)
    check("delete", (client.delete("k/a"), client.delete("k/a")), (True, False))
    check("delete_prefix", client.delete_prefix("k/").deleted, 1)


def transactions(client: etcd3.Etcd3Client) -> None:
    t = client.transactions
    client.put("t/a", "1")
    succeeded, responses = client.transaction(
        compare=[t.value("t/a") == "1", t.version("t/a") > 0, t.mod("t/a") > 1, t.create("t/b") == 0],
        success=[t.put("t/b", "then"), t.get("t/b"), t.delete("t/a"), t.txn([], [t.get("t/b")], [])],
        failure=[t.put("t/b", "else")],
    )
    check("txn, then", (succeeded, [value for value, _ in responses[1]]), (True, [b"then"]))
    check("txn, delete", responses[2].response_delete_range.deleted, 1)
    nested = responses[3].response_txn.responses[0].response_range.kvs[0]
    check("txn in a txn", (nested.key, nested.value), (b"t/b", b"then"))
    succeeded, responses = client.transaction(
        compare=[t.value("t/b") < "a"], success=[], failure=[t.get("t/b"), t.get("t/never")]
    )
    check("txn, else", (succeeded, [value for value, _ in responses[0]], responses[1]), (False, [b"then"], []))
    try:
        client.transaction(compare=[], success=[t.put("x", "1"), t.put("x", "2")], failure=[])
        check("the same key twice", "done", "refused")
    except grpc.RpcError as error:
        check("the same key twice", error.details(), "etcdserver: duplicate key given in txn request")


def watches(client: etcd3.Etcd3Client) -> None:
    start = client.put("w/before", "0").header.revision
    events, cancel = client.watch_prefix("w/", start_revision=start, prev_kv=True)
    puts, cancel_puts = client.watch("w/a")
    client.put("w/a", "1")
    client.put("w/a", "2")
    client.delete("w/a")
    client.put("w/end", "")
    seen = []
    for event in events:
        seen.append((type(event), event.key, event.value, event.prev_value))
        if event.key == b"w/end":
            break
    cancel()
    check("watch_prefix from a revision", seen, [
        (PUT, b"w/before", b"0", b""),
        (PUT, b"w/a", b"1", b""),
        (PUT, b"w/a", b"2", b"1"),
        (DELETE, b"w/a", b"", b"2"),
        (PUT, b"w/end", b"", b""),
    ])
    check("two watches on one stream", [next(puts).value, next(puts).value], [b"1", b"2"])
    cancel_puts()
    client.compact(client.get("w/before")[1].mod_revision + 1)
    try:
        events, cancel = client.watch("w/a", start_revision=2)
        next(events)
        check("watch of the compacted past", "an event", "RevisionCompactedError")
    except etcd3.exceptions.RevisionCompactedError as error:
        check("watch of the compacted past", error.compacted_revision, start + 1)


def leases(client: etcd3.Etcd3Client) -> None:
    lease = client.lease(60)
    client.put("l/a", "1", lease=lease)
    check("the key has the id of the lease", client.get("l/a")[1].lease_id, lease.id)
    check("the keys of the lease", list(lease.keys), [b"l/a"])
    check("the TTL of the lease", (lease.granted_ttl, 50 < lease.remaining_ttl <= 60), (60, True))
    check("refresh", [response.TTL for response in lease.refresh()], [60])
    lease.revoke()
    check("revoked with its keys", client.get("l/a"), (None, None))
    short = client.lease(1)
    events, cancel = client.watch("l/short")
    client.put("l/short", "1", lease=short)
    check("the lease expires", [type(next(events)), type(next(events))], [PUT, DELETE])
    cancel()


def locks_and_maintenance(client: etcd3.Etcd3Client) -> None:
    with client.lock("lock", ttl=20) as lock:
        check("a lock", lock.is_acquired(), True)
    # in this client, waiting for a lock in use fails with current versions of tenacity
    again = client.lock("lock", ttl=20)
    check("a lock that is free again", (again.acquire(), again.release()), (True, True))
    status = client.status()
    check("status", (status.version in ("3.5.1", "3.7.3"), status.db_size > 0), (True, True))
    check("members", [member.id for member in client.members], [status.leader.id])
    check("alarms", list(client.list_alarms()), [])


def main() -> None:
    client = etcd3.client(host=sys.argv[1], port=int(sys.argv[2]), timeout=20)
    key_values(client)
    transactions(client)
    watches(client)
    leases(client)
    locks_and_maintenance(client)
    done("etcd3 in Python")


main()
