"""Tests of a program that stores its data in libkv; run them with pytest."""

import libkv


def greet(db: libkv.Db, name: str) -> str:
    """Greet, and count the greetings."""

    def body(t: libkv.Transaction) -> int:
        found = t.get(f"greeted/{name}")
        times = int(found.value) + 1 if found else 1
        t.put(f"greeted/{name}", str(times))
        return times

    return f"hello {name}, for time {db.transact(body)}"


def test_greet_counts(kv: libkv.Db) -> None:
    """Two greetings of one name, one of another."""
    assert greet(kv, "ann") == "hello ann, for time 1"
    assert greet(kv, "ann") == "hello ann, for time 2"
    assert greet(kv, "bob") == "hello bob, for time 1"


def test_guest_expires_after_ten_seconds(kv_etcd: libkv.Db, kv_clock: libkv.Clock) -> None:
    """The limits of a cluster, and a manual clock: no test sleeps."""
    lease = kv_etcd.lease_grant(10)
    kv_etcd.put("guest/ann", "here", lease=lease.id)
    kv_clock.advance(9_000)
    assert kv_etcd.get("guest/ann")
    kv_clock.advance(2_000)  # returns when everything that is due has expired
    assert kv_etcd.get("guest/ann") is None
    assert kv_etcd.history("guest/ann")[0].type == "delete"


def test_greet_over_the_network(kv_etcd: libkv.Db, kv_server: libkv.Server) -> None:
    """A program that uses an etcd client can be tested with kv_server.address; here it is libkv."""
    with libkv.open(kv_server.address) as client:
        assert greet(client, "ann") == "hello ann, for time 1"
    assert greet(kv_etcd, "ann") == "hello ann, for time 2"
