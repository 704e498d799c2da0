"""Responses, events, requests and errors that are pickled or copied."""

import copy
import multiprocessing
import pickle
from typing import Any

import libkv
import pytest
from libkv import _codes


def responses(db: libkv.Db) -> list[Any]:
    """One response of each class, with bytes that are not UTF-8 and a lease."""
    watcher = db.watch()
    grant = db.lease_grant(60)
    db.put(b"\xff", b"\x00", lease=grant.id)
    put = db.put(b"\xff", "v", prev_kv=True)
    ops: list[Any] = [
        libkv.Put("a", "b"),
        libkv.Range(prefix=""),
        libkv.Txn(success=[libkv.Delete("a0", prev_kv=True)]),
    ]
    txn = db.txn(success=ops)
    alarms = db.alarm_activate("nospace", member=2**64 - 1)
    db.alarm_disarm()
    db.role_add("role")
    db.role_grant_permission("role", "readwrite", prefix=b"\xff")
    return [
        db.get(b"\xff"),
        put,
        txn,
        txn.responses,
        db.range(),
        db.range(limit=1).kvs,
        db.range(count_only=True),
        db.delete(prefix="a", prev_kv=True),
        list(db.history(b"\xff")),
        list(db.events(1)),
        list(db.diff(1)),
        watcher.next(),
        grant,
        db.lease_keep_alive(grant.id),
        db.lease_time_to_live(grant.id, keys=True),
        db.lease_revoke(grant.id),
        alarms,
        db.auth_status(),
        db.role_get("role"),
        db.status(),
        db.check(),
        libkv.CheckReport(1, 2, [libkv.Problem("I1", b"k", 3, "a"), libkv.Problem("I8", b"", None, "b")]),
        db.hash_kv(),
        db.member_list(),
        libkv.Member(2**64 - 1, "m", ["http://a:1"], [], is_learner=True),
        db.compact(2),
    ]


REQUESTS = [
    libkv.Put(b"\xff", b"\x00", lease=-7, prev_kv=True, durability="lazy"),
    libkv.Put("k", ignore_value=True, ignore_lease=True),
    libkv.Range("k"),
    libkv.Range(),
    libkv.Range(start="a"),
    libkv.Range(end="b", serializable=True),
    libkv.Range(start="a", end="b", revision=3, limit=2, sort_order="descend", sort_target="value", keys_only=True),
    libkv.Range(prefix=b"\xff", count_only=True, min_mod_revision=1, max_create_revision=9),
    libkv.Delete("k", prev_kv=True),
    libkv.Delete(prefix="", durability="sync"),
    libkv.Compare.version("k", "==", 0),
    libkv.Compare.create_revision("k", "!=", 1),
    libkv.Compare.mod_revision(libkv.Range(prefix="k"), ">", 2),
    libkv.Compare.value("k", "<", b"\xff"),
    libkv.Compare.lease("k", "==", -1),
    libkv.Txn(),
    libkv.Txn(
        compare=[libkv.Compare.value(libkv.Range(start="a"), "==", "v")],
        success=[libkv.Put("a", "b"), libkv.Txn(failure=[libkv.Delete("c")])],
        failure=[libkv.Range(prefix="")],
        durability="sync",
    ),
]


def again(value: Any) -> list[Any]:
    """The copies of a value, one by each way of copying."""
    pickled = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    return [*pickled, copy.copy(value), copy.deepcopy(value)]


def test_responses_are_pickled_and_copied(kv_etcd: libkv.Db) -> None:
    for value in responses(kv_etcd):
        for same in again(value):
            assert type(same) is type(value)
            assert same == value
            assert repr(same) == repr(value)


def test_responses_of_every_class_are_pickled(kv_etcd: libkv.Db) -> None:
    made = responses(kv_etcd)
    lists = [value for value in made if isinstance(value, list)]
    seen = {type(value).__name__ for value in [*made, *(item for items in lists for item in items)]} | {"Problem"}
    values = {name for name in libkv.__all__ if hasattr(getattr(libkv, name), "__match_args__")}
    assert values - seen == set()


def test_response_is_made_of_its_fields() -> None:
    made = libkv.KeyValue(b"k", b"v", create_revision=2, mod_revision=3, version=2, lease=0)
    assert eval(repr(made), {"KeyValue": libkv.KeyValue}) == made
    pairs = libkv.KeyValues([made])
    assert list(pairs) == [made]
    assert libkv.RangeResponse(3, pairs, 1, more=False)[0] == made
    with pytest.raises(TypeError, match="key"):
        libkv.KeyValue("k", b"v", 2, 3, 2, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an item of kvs must be a KeyValue, not int"):
        libkv.KeyValues([1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="kvs must be an iterable of KeyValue, not int"):
        libkv.KeyValues(1)  # type: ignore[arg-type]


def test_deep_copy_of_a_response_has_its_own_lists(kv: libkv.Db) -> None:
    kv.put("k", "v")
    deleted = kv.delete("k", prev_kv=True)
    copied = copy.deepcopy(deleted)
    deleted.prev_kvs.clear()
    assert [pair.key for pair in copied.prev_kvs] == [b"k"]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_requests_are_pickled_and_copied(request_: Any) -> None:
    for same in again(request_):
        assert type(same) is type(request_)
        assert same == request_
        assert repr(same) == repr(request_)


@pytest.mark.parametrize("cls", _codes.BY_CODE.values(), ids=lambda cls: cls.__name__)
def test_errors_are_pickled_and_copied_with_their_fields(cls: type[libkv.Error]) -> None:
    error = cls("what happened", 7)
    error.add_note("where")
    for same in again(error):
        assert type(same) is cls
        assert (str(same), same.message, same.revision, same.code) == ("what happened", "what happened", 7, cls.code)
        assert getattr(same, "errno", None) == getattr(error, "errno", None)
        assert same.__notes__ == ["where"]


def test_errors_made_with_keywords_are_pickled() -> None:
    error = libkv.CompactedError(message="gone", revision=5)
    for same in again(error):
        assert (same.message, same.revision) == ("gone", 5)


def look(path: str) -> tuple[Any, ...]:
    """The result of a process of a pool, which opens the store itself."""
    with libkv.open(path, create=False) as db:
        return db.get("k"), db.range(), list(db.events(1)), db.status().revision


def refuse(path: str) -> None:
    """Raise an exception in a process of a pool."""
    with libkv.open(path, create=False) as db:
        db.get("k", revision=99)


def test_process_pool_passes_responses_and_exceptions(tmp_path: Any) -> None:
    path = str(tmp_path / "store")
    with libkv.open(path) as db:
        db.put("k", "v")
        expected = (db.get("k"), db.range(), list(db.events(1)), 2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map_async(look, [path]).get(60) == [expected]
        with pytest.raises(libkv.FutureRevisionError) as raised:
            pool.map_async(refuse, [path]).get(60)
    assert raised.value.revision == 2
