"""served.py PART …: the programs of section 10 of the demo in Python.

    write STORE N       makes N changes under shop/, as served.c; prints REVISION KEY VALUE
    tour TARGET         makes various calls on a new store: a directory, kv serve, or an etcd cluster
    check SEEN WRITTEN…
    checks that etcdctl's watch has exactly the changes that the programs printed
"""

import base64
import json
import random
import sys
import time
from pathlib import Path

import libkv
from libkv import Compare, Delete, Put, Range


def write(store: str, changes: int) -> None:
    with libkv.open(store, create=False) as db:
        for i in range(changes):
            time.sleep(random.random() * 0.004)
            key, value = f"shop/{'all' if i % 2 else 'python'}/{i % 7}", f"python-{i}"
            if i % 10 == 9:
                gone = db.delete(key)
                if gone.deleted:
                    print(gone.revision, key, "-")
            else:
                print(db.put(key, value).revision, key, value)


def sell(db: libkv.Db, what: str) -> int:
    def one_less(t: libkv.Transaction) -> int:
        kv = t.get(f"stock/{what}")
        left = int(kv.value) - 1 if kv else -1
        t.put(f"stock/{what}", str(left))
        t.put(f"sold/{what}/{left}", "paid")
        return left

    return db.transact(one_less)


def tour(target: str) -> None:
    with libkv.open(target) as db:
        for what, count in [("apples", 3), ("pears", 2), ("plums", 0)]:
            print("put", what, db.put(f"stock/{what}", str(count)).revision)
        print("sold apples, left:", sell(db, "apples"), sell(db, "apples"))
        stock = db.range(prefix="stock/", sort_target="value", sort_order="descend")
        print("stock at revision", stock.revision, [(kv.key.decode(), kv.value.decode(), kv.version) for kv in stock])
        opening = db.range(prefix="stock/", revision=4, limit=2)
        print("at opening", [kv.value.decode() for kv in opening], opening.count, opening.more)
        restocked = db.txn(
            compare=[Compare.value("stock/plums", "==", "0"), Compare.version("sold/plums/0", "==", 0)],
            success=[Put("stock/plums", "10"), Range("stock/plums"), Delete("stock/pears", prev_kv=True)],
        )
        print("restocked", restocked.succeeded, restocked.revision, restocked.responses[1].kvs[0].value.decode(),
              restocked.responses[2].prev_kvs[0].value.decode())
        lease = db.lease_grant(600, id=77)
        db.put("cart/ann", "2 plums", lease=lease.id)
        db.put("cart/bob", "1 apple", lease=lease.id)
        kept = db.lease_time_to_live(lease.id, keys=True)
        print("carts", sorted(key.decode() for key in kept.keys), "for", kept.granted_ttl_seconds, "seconds")
        db.lease_revoke(lease.id)
        print("carts after the revocation:", db.range(prefix="cart/", count_only=True).count)
        with db.lock("till", 60) as lock:
            print("lock of the till at revision", lock.revision)
        last = db.put("closed", "").revision
        with db.watch(start_revision=2, prev_kv=True) as watcher:
            for batch in watcher:
                for event in batch.events:
                    kv, prev = event.kv, event.prev_kv
                    if not kv.key.startswith(b"till/"):  # the key of a lock has the id of a lease, which differs
                        print("  ", batch.revision, event.type, kv.key.decode(), kv.value.decode(),
                              "after", prev.value.decode() if prev else None)
                if batch.revision == last:
                    break
        try:
            db.get("stock/apples", revision=last + 1)
        except libkv.FutureRevisionError as error:
            print("a future revision:", error.code, "current revision", db.range(limit=1).revision)
        db.compact(6)
        try:
            db.get("stock/apples", revision=5)
        except libkv.CompactedError as error:
            print("a compacted revision:", error.code)


def check(seen: Path, written: list[Path]) -> None:
    def text(part: str | None) -> str:
        return base64.b64decode(part or "").decode()

    events = [event for line in seen.read_text().splitlines() for event in json.loads(line).get("Events") or []]
    received = [
        f"{event['kv']['mod_revision']} {text(event['kv']['key'])} {'-' if event.get('type') else text(event['kv'].get('value'))}"
        for event in events
    ]
    expected = [line for path in written for line in path.read_text().splitlines()]
    expected.sort(key=lambda line: int(line.split()[0]))
    end = received.pop() if received else ""
    if not end.endswith(" shop/end over"):
        sys.exit(f"the last event of etcdctl is not the end, but {end!r}")
    for at, (a, b) in enumerate(zip(received, expected)):
        if a != b:
            sys.exit(f"event {at + 1}: etcdctl has {a!r}, but {b!r} was written")
    if len(received) != len(expected):
        sys.exit(f"etcdctl has {len(received)} changes, but {len(expected)} were written")
    print(f"etcdctl got {len(received)} changes of {len(written)} local programs, each once and in order")


def main() -> None:
    match sys.argv[1:]:
        case ["write", store, changes]:
            write(store, int(changes))
        case ["tour", target]:
            tour(target)
        case ["check", seen, *written]:
            check(Path(seen), [Path(path) for path in written])
        case _:
            sys.exit("usage: served.py write|tour|check …")


main()
