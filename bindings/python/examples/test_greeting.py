"""A test of a program that keeps its data in libkv; run it with pytest."""

import libkv


def greet(db: libkv.Db, name: str) -> str:
    """Greet, and count how often."""

    def body(t: libkv.Transaction) -> int:
        found = t.get(f"greeted/{name}")
        times = int(found.value) + 1 if found else 1
        t.put(f"greeted/{name}", str(times))
        return times

    return f"hello {name}, for time {db.transact(body)}"


def test_it_counts(kv: libkv.Db) -> None:
    """Two greetings of one name, one of another."""
    assert greet(kv, "ann") == "hello ann, for time 1"
    assert greet(kv, "ann") == "hello ann, for time 2"
    assert greet(kv, "bob") == "hello bob, for time 1"


def test_it_would_also_work_on_etcd(kv_etcd: libkv.Db, kv_clock: libkv.Clock) -> None:
    """The limits of a cluster, and a clock that stands until it is told to go on."""
    assert greet(kv_etcd, "ann") == "hello ann, for time 1"
    kv_clock.advance(60_000)
    assert kv_etcd.history("greeted/ann")[0].kv.version == 1
