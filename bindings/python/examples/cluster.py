"""One program for a store in this process and for a cluster, and a server for etcd clients."""

import libkv


def visit(db: libkv.Db, name: str) -> int:
    """Count a visit; the calls are the same for every store."""
    db.put(f"visits/{name}", "here")
    return db.range(prefix="visits/", count_only=True).count


with libkv.open(":memory:", limits="etcd") as db, libkv.serve(db) as server:
    print(visit(db, "ann"), "visitor in this process")
    # etcdctl --endpoints ADDRESS, a client in any language, or libkv, as for etcd://h1:2379,h2:2379
    with libkv.open(server.address) as cluster:
        print(visit(cluster, "bob"), "visitors over the network")
