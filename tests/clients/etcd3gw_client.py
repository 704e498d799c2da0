"""etcd3gw_client.py HOST PORT: tests the unmodified client `etcd3gw` (JSON gateway)."""

import base64
import sys

import etcd3gw
import requests
from checks import check, done


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def key_values(client: etcd3gw.Etcd3Client) -> None:
    check("get of a missing key", client.get("never"), [])
    check("put", (client.put("k/a", "1"), client.put("k/a", "2"), client.put("k/b", "")), (True, True, True))
    [(value, meta)] = client.get("k/a", metadata=True)
    fields = [meta[name] for name in ("create_revision", "mod_revision", "version")]
    check("get", (value, fields), (b"2", ["2", "3", "2"]))
    check("create, refused", client.create("k/a", "3"), False)
    check("create", client.create("k/c", "3"), True)
    check("replace", (client.replace("k/a", "x", "4"), client.replace("k/a", "2", "4")), (False, True))
    down = client.get_all(sort_order="descend", sort_target="key")
    check("get_all, sorted", [meta["key"] for _, meta in down], [b"k/c", b"k/b", b"k/a"])
    check("get_prefix", [value for value, _ in client.get_prefix("k/")], [b"4", b"", b"3"])
    check("delete", (client.delete("k/c"), client.delete("k/c")), (True, False))
    check("delete_prefix", client.delete_prefix("k/"), True)


def transactions(client: etcd3gw.Etcd3Client) -> None:
    client.put("t/a", "1")
    response = client.transaction({
        "compare": [{"key": b64("t/a"), "result": "EQUAL", "target": "VALUE", "value": b64("1")}],
        "success": [
            {"request_put": {"key": b64("t/b"), "value": b64("then")}},
            {"request_range": {"key": b64("t/b")}},
            {"request_delete_range": {"key": b64("t/a")}},
        ],
        "failure": [],
    })
    check("txn", response["succeeded"], True)
    check("txn, range", response["responses"][1]["response_range"]["kvs"][0]["value"], b64("then"))
    check("txn, delete", response["responses"][2]["response_delete_range"]["deleted"], "1")
    twice = {"request_put": {"key": b64("x"), "value": b64("1")}}
    try:
        client.transaction({"compare": [], "success": [twice, twice], "failure": []})
        check("the same key twice", "done", "refused")
    except etcd3gw.exceptions.Etcd3Exception as error:
        check("the same key twice", "duplicate key given in txn request" in (error.detail_text or ""), True)


def watches(client: etcd3gw.Etcd3Client) -> None:
    client.put("w/before", "0")
    start = int(client.get("w/before", metadata=True)[0][1]["mod_revision"])
    events, cancel = client.watch_prefix("w/", start_revision=start)
    client.put("w/a", "1")
    client.delete("w/a")
    client.put("w/end", "x")
    seen = []
    for event in events:
        seen.append((event.get("type", "PUT"), event["kv"]["key"], event["kv"].get("value")))
        if event["kv"]["key"] == b"w/end":
            break
    cancel()
    check("watch_prefix from a revision", seen, [
        ("PUT", b"w/before", b"0"),
        ("PUT", b"w/a", b"1"),
        ("DELETE", b"w/a", None),
        ("PUT", b"w/end", b"x"),
    ])
    event = client.watch_once("w/a", timeout=20, start_revision=start, filters=["NOPUT"])
    check("watch, deletes only", (event["type"], event["kv"]["key"]), ("DELETE", b"w/a"))


def leases(client: etcd3gw.Etcd3Client) -> None:
    lease = client.lease(ttl=60)
    check("put with a lease", client.put("l/a", "1", lease), True)
    check("the keys of the lease", lease.keys(), [b"l/a"])
    check("the TTL of the lease", 50 < lease.ttl() <= 60, True)
    check("refresh", lease.refresh(), 60)
    check("revoke", lease.revoke(), True)
    check("revoked with its keys", client.get("l/a"), [])
    check("refresh of a missing lease", lease.refresh(), -1)


def locks_and_maintenance(client: etcd3gw.Etcd3Client) -> None:
    with client.lock("lock", ttl=20) as lock:
        check("a lock", lock.is_acquired(), True)
        check("a lock in use", client.lock("lock", ttl=20).acquire(), False)
    # both etcd and kv serve have this name by default
    check("status", client.status()["version"] in ("3.5.1", "3.7.3"), True)
    check("members", [member["name"] for member in client.members()], ["default"])
    version = requests.get(f"http://{sys.argv[1]}:{sys.argv[2]}/version", timeout=20).json()
    check("/version", version["etcdcluster"] in ("3.5.0", "3.7.0"), True)
    health = requests.get(f"http://{sys.argv[1]}:{sys.argv[2]}/health", timeout=20).json()
    check("/health", health, {"health": "true", "reason": ""})


def main() -> None:
    client = etcd3gw.client(host=sys.argv[1], port=int(sys.argv[2]), timeout=20)
    key_values(client)
    transactions(client)
    watches(client)
    leases(client)
    locks_and_maintenance(client)
    done("etcd3gw")


main()
