"""What is specific to Python: types, errors, keywords, context managers, iterators, transact."""

import copy
import datetime
import inspect
import io
import math
import os
import pickle
import signal
import sys
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import libkv
import pytest
from conftest import Holder
from libkv import _codes, _libkv


def filled(db: libkv.Db, *keys: str) -> libkv.Db:
    for key in keys:
        db.put(key, key.upper())
    return db


# --- opening


def test_version() -> None:
    assert libkv.__version__ == _libkv.__version__
    assert libkv.__version__.count(".") == 2


@pytest.mark.parametrize("spell", [str, Path, os.fsencode, lambda path: f"file:{path}"])
def test_open_target_is_str_path_bytes_or_file_url(tmp_path: Path, spell: Callable[[Path], Any]) -> None:
    path = tmp_path / "störe"
    with libkv.open(spell(path)) as db:
        db.put("k", "v")
    assert path.is_dir()
    with libkv.open(path, create=False) as db:
        assert db.get("k")


@pytest.mark.parametrize("target", [None, 1, ["a"], object()])
def test_open_target_of_other_types_is_a_type_error(target: Any) -> None:
    with pytest.raises(TypeError):
        libkv.open(target)


def test_open_of_a_store_refuses_options_of_a_cluster() -> None:
    with pytest.raises(libkv.InvalidArgumentError, match="tls_ca"):
        libkv.open(":memory:", tls_ca=Path("ca.pem"))
    with pytest.raises(libkv.InvalidArgumentError, match="keep_alive_ms"):
        libkv.open(":memory:", keep_alive_ms=5)


def test_open_accepts_every_option(tmp_path: Path) -> None:
    clock = libkv.Clock(1_000)
    options: dict[str, Any] = {
        "create": True,
        "read_only": False,
        "durability": "lazy",
        "busy_timeout_ms": math.inf,
        "max_request_bytes": 1_000,
        "max_txn_ops": 3,
        "limits": "etcd",
        "lease_ttl_min_seconds": 5,
        "max_readers": 64,
        "mode": 0o640,
        "clock": clock,
        "allow_network_fs": False,
    }
    with libkv.open(tmp_path / "s", **options) as db:
        assert db.status().durability == "lazy"
        assert (tmp_path / "s" / "data.mdb").stat().st_mode & 0o777 == 0o640
        with pytest.raises(libkv.TooManyOpsError):
            db.txn(success=[libkv.Put(str(n)) for n in range(4)])
        with pytest.raises(libkv.TooLargeError):
            db.put("k", bytes(2_000))
    with libkv.open(":memory:", **dict.fromkeys(options)) as db:  # None is the default of each
        db.put("k")


def test_memory_accepts_every_durability() -> None:
    names: tuple[Literal["sync", "lazy", "none"], ...] = ("sync", "lazy", "none")
    for durability in names:
        with libkv.open(":memory:", durability=durability) as db:
            assert db.status().durability == durability
            for write in names:
                db.put("k", "v", durability=write)
                assert db.delete("k", durability=write).deleted == 1


def test_open_refusals_of_the_engine() -> None:
    with pytest.raises(ValueError, match="at least a second"):
        libkv.open(":memory:", auto_compaction=datetime.timedelta(0))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("create", 1, TypeError),
        ("read_only", "yes", TypeError),
        ("durability", "fast", ValueError),
        ("durability", 1, TypeError),
        ("busy_timeout_ms", 1.5, TypeError),
        ("busy_timeout_ms", -1, OverflowError),
        ("max_request_bytes", 1 << 64, OverflowError),
        ("max_readers", 1 << 32, OverflowError),
        ("mode", "0600", TypeError),
        ("limits", "zookeeper", ValueError),
        ("clock", 5, TypeError),
    ],
)
def test_option_of_the_wrong_type_is_named(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        libkv.open(":memory:", **{name: value})


def test_option_that_is_misspelt_is_named_with_the_nearest(kv: libkv.Db) -> None:
    calls: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: libkv.open(":memory:", durabilty="none"), "durabilty", "durability"),  # type: ignore[call-arg]
        (lambda: libkv.open(":memory:", busy_timeout=1), "busy_timeout", "busy_timeout_ms"),  # type: ignore[call-arg]
        (lambda: kv.put("k", "v", leese=1), "leese", "lease"),  # type: ignore[call-arg]
        (lambda: kv.get("k", revison=1), "revison", "revision"),  # type: ignore[call-arg]
        (lambda: kv.range(prefx="k"), "prefx", "prefix"),  # type: ignore[call-arg]
        (lambda: kv.scan(key_only=True), "key_only", "keys_only"),  # type: ignore[call-arg]
        (lambda: kv.delete(prefixes="k"), "prefixes", "prefix"),  # type: ignore[call-arg]
        (lambda: kv.txn(compares=[]), "compares", "compare"),  # type: ignore[call-arg]
        (lambda: kv.compact(1, physically=True), "physically", "physical"),  # type: ignore[call-arg]
        (lambda: kv.transact(print, retries=1), "retries", "max_retries"),  # type: ignore[call-arg]
    ]
    for call, wrong, right in calls:
        with pytest.raises(TypeError, match=f'"{wrong}".*did you mean "{right}"'):
            call()
    with pytest.raises(TypeError, match="it has revision"):
        kv.get("k", zzz=1)  # type: ignore[call-arg]
    assert kv.status().revision == 1


def test_signatures_have_every_option(kv: libkv.Db) -> None:
    wrong = object()
    for owner, name in [(kv, name) for name in dir(kv) if name[0] != "_"] + [(libkv, "open")]:
        call = getattr(owner, name)
        if not callable(call):
            continue
        for parameter in inspect.signature(call).parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                target: Any = ":memory:" if name == "open" else print if name == "transact" else 1
                first: tuple[Any, ...] = (
                    (target,) if name in ("open", "transact", "compact", "events", "diff") else ("k",)
                )
                first = () if name == "txn" or parameter.name in ("prefix", "start", "end") else first
                first = (1, 1) if name in ("events", "diff") else first
                first = {"alarm_activate": ("nospace",), "alarm_disarm": ()}.get(name, first)
                with pytest.raises((TypeError, libkv.UnsupportedError)) as raised:
                    call(*first, **{parameter.name: wrong})
                assert "no option" not in str(raised.value), (name, parameter.name)


# --- bytes in and out


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: memoryview(b).toreadonly(),
        lambda b: array("B", b),
        lambda b: array("H", b),
        lambda b: io.BytesIO(b).getbuffer(),
        lambda b: b.decode(),
    ],
)
def test_bytes_from_any_buffer_or_str(kv: libkv.Db, make: Callable[[bytes], Any]) -> None:
    kv.put(make(b"key1"), make(b"value2"))
    found = kv.get(make(b"key1"))
    assert found is not None
    assert (found.key, found.value) == (b"key1", b"value2")
    assert type(found.key) is bytes
    assert type(found.value) is bytes
    assert kv.range(prefix=make(b"ke")).kvs == [found]
    assert kv.delete(make(b"key1")).deleted == 1


def test_text_is_utf8_and_a_lone_surrogate_is_refused(kv: libkv.Db) -> None:
    kv.put("schlüssel", "wert…")
    found = kv.get("schlüssel".encode())
    assert found is not None
    assert found.value.decode() == "wert…"
    for call in (lambda: kv.put("a\ud800", "v"), lambda: kv.put("a", "\udfff"), lambda: kv.get("\ud800")):
        with pytest.raises(UnicodeEncodeError):
            call()
    assert kv.status().revision == 2


@pytest.mark.parametrize("wrong", [None, 1, 1.5, ["k"], object(), {"k": 1}])
def test_bytes_refuse_none_and_other_types(kv: libkv.Db, wrong: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: kv.put(wrong, "v"),
        lambda: kv.put("k", wrong),
        lambda: kv.get(wrong),
        lambda: kv.get_into(wrong, bytearray(1)),
        lambda: kv.get_into("k", wrong),
        lambda: kv.range(wrong),
        lambda: kv.range(prefix=wrong),
        lambda: kv.range(start="a", end=wrong),
        lambda: kv.scan(key=wrong),
        lambda: kv.delete(wrong),
        lambda: kv.delete(prefix=wrong),
        lambda: kv.history(wrong),
        lambda: kv.events(0, 0, wrong),
        lambda: kv.diff(0, 0, prefix=wrong),
        lambda: libkv.Put(wrong),
        lambda: libkv.Compare.value("k", "==", wrong),
        lambda: libkv.Compare.version(wrong, "==", 1),
        lambda: kv.transact(lambda t: t.put("k", wrong)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="must be"):
            call()
    assert kv.status().revision == 1


def test_buffer_with_gaps_is_refused(kv: libkv.Db) -> None:
    gaps = memoryview(b"abcdef")[::2]
    for call in (lambda: kv.put(gaps, "v"), lambda: kv.put("k", gaps), lambda: kv.get(gaps)):
        with pytest.raises(ValueError, match="contiguous"):
            call()
    assert kv.status().revision == 1


def test_memoryview_that_was_released_is_refused(kv: libkv.Db) -> None:
    view = memoryview(b"k")
    view.release()
    with pytest.raises((TypeError, ValueError)):
        kv.get(view)


def test_buffer_is_read_when_the_request_is_made(kv: libkv.Db) -> None:
    buffer = bytearray(b"before")
    put = libkv.Put("k", buffer)
    buffer[:] = b"after!"
    kv.put(put)
    found = kv.get("k")
    assert found is not None
    assert found.value == b"before"


def test_get_into(kv: libkv.Db) -> None:
    kv.put("k", "value")
    kv.put("big", b"x" * 5_000)
    buffer = bytearray(b"........")
    assert kv.get_into("k", buffer) == 5
    assert buffer == b"value..."
    assert kv.get_into("big", buffer) == 5_000
    assert buffer == b"value..."
    assert kv.get_into("none", buffer) is None
    large = bytearray(5_001)
    assert kv.get_into("big", memoryview(large)[1:]) == 5_000
    assert large == b"\0" + b"x" * 5_000
    with pytest.raises(TypeError, match="writable"):
        kv.get_into("k", b"bytes")
    with pytest.raises(ValueError, match="contiguous"):
        kv.get_into("k", memoryview(bytearray(10))[::2])
    with pytest.raises(TypeError, match="buffer of bytes"):
        kv.get_into("k", array("H", [0, 0, 0]))


@pytest.mark.parametrize("beyond", [1 << 63, -(1 << 63) - 1, 10**30])
def test_numbers_beyond_64_bits_are_overflow_errors(kv: libkv.Db, beyond: int) -> None:
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("lease", lambda: kv.put("k", "v", lease=beyond)),
        ("revision", lambda: kv.get("k", revision=beyond)),
        ("revision", lambda: kv.range(revision=beyond)),
        ("limit", lambda: kv.scan(limit=beyond)),
        ("revision", lambda: kv.compact(beyond)),
        ("revision", lambda: kv.snapshot(beyond)),
        ("limit", lambda: kv.history("k", limit=beyond)),
        ("after", lambda: kv.events(beyond)),
        ("b", lambda: kv.diff(0, beyond)),
        ("version", lambda: libkv.Compare.version("k", "==", beyond)),
        ("max_retries", lambda: kv.transact(print, max_retries=beyond)),
        ("unix_ms", lambda: libkv.Clock(beyond)),
    ]
    for name, call in calls:
        with pytest.raises(OverflowError, match=f"^{name} is beyond"):
            call()
    with pytest.raises(TypeError, match="revision must be an int, not str"):
        kv.get("k", revision="1")  # type: ignore[arg-type]
    assert kv.status().revision == 1


def test_lease_ids_have_64_bits(kv: libkv.Db) -> None:
    for lease in ((1 << 63) - 1, -(1 << 63), 7):
        with pytest.raises(libkv.LeaseNotFoundError):
            kv.put("k", "v", lease=lease)


# --- calls


def test_put_get_and_history(kv: libkv.Db) -> None:
    assert kv.put("k", "1") == kv_put(2)
    assert kv.put("k", "2", prev_kv=True).prev_kv == kv.get("k", revision=2)
    assert kv.put("k", ignore_value=True).revision == 4
    found = kv.get("k")
    assert found is not None
    assert (found.value, found.create_revision, found.mod_revision, found.version, found.lease) == (b"2", 2, 4, 3, 0)
    kv.delete("k")
    assert kv.get("k") is None
    events = kv.history("k", limit=2)
    assert [(event.type, event.kv.mod_revision) for event in events] == [("delete", 5), ("put", 4)]
    assert events[0].prev_kv is None


def kv_put(revision: int) -> libkv.PutResponse:
    """The response to a put in another store. Responses are equal if their fields are equal."""
    with libkv.open(":memory:") as db:
        while (response := db.put("any")).revision < revision:
            pass
        return response


def test_keys_in_each_notation(kv: libkv.Db) -> None:
    filled(kv, "a", "b", "b/1", "b/2", "c")

    def names(**options: Any) -> str:
        assert [found.key for found in kv.scan(**options)] == [found.key for found in kv.range(**options)]
        return " ".join(found.key.decode() for found in kv.range(**options))

    assert names() == "a b b/1 b/2 c"
    assert names(key="b") == "b"
    assert names(prefix="b") == "b b/1 b/2"
    assert names(prefix="") == "a b b/1 b/2 c"
    assert names(start="b/1") == "b/1 b/2 c"
    assert names(start="b", end="b/2") == "b b/1"
    assert names(end="b/1") == "a b"
    assert names(start="b", end="b") == ""
    assert names(key=libkv.Range(prefix="b", limit=2)) == "b b/1"
    several: list[dict[str, Any]] = [
        {"key": "a", "prefix": "b"},
        {"prefix": "b", "end": "c"},
        {"key": "a", "start": "b"},
    ]
    for options in several:
        with pytest.raises(TypeError, match="not several"):
            kv.range(**options)
    with pytest.raises(libkv.InvalidArgumentError):
        kv.range("")


def test_range_options(kv: libkv.Db) -> None:
    filled(kv, "a", "b", "c")
    kv.put("a", "Z")
    response = kv.range(limit=2, sort_order="descend", sort_target="value", revision=0)
    assert [found.key for found in response] == [b"a", b"c"]
    assert (response.count, response.more, response.revision, len(response), bool(response)) == (3, True, 5, 2, True)
    assert kv.range("a", keys_only=True).kvs[0].value == b""
    assert (kv.range(count_only=True).count, len(kv.range(count_only=True))) == (3, 0)
    assert not kv.range("none")
    assert [found.key for found in kv.range(min_mod_revision=4, max_create_revision=3)] == [b"a"]
    assert [found.key for found in kv.range(max_mod_revision=3, min_create_revision=3, serializable=True)] == [b"b"]
    with pytest.raises(ValueError, match='sort_order must be one of "none", "ascend", "descend"'):
        kv.range(sort_order="up")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keys_only must be a bool"):
        kv.range(keys_only=1)  # type: ignore[arg-type]


def test_kvs_is_a_sequence_equal_to_a_list(kv: libkv.Db) -> None:
    filled(kv, *(f"{number:04}" for number in range(200)))
    kvs = kv.range().kvs
    made = list(kvs)
    assert len(kvs) == len(made) == 200
    assert kvs == made == list(kv.scan())
    assert kvs == kv.range().kvs
    assert kvs != made[1:]
    assert not kvs == ()  # noqa: SIM201 - the operator itself
    assert (kvs[0], kvs[-1], kvs[199]) == (made[0], made[199], made[199])
    assert kvs[5:150:70] == made[5:150:70]
    assert kv.range()[3] == made[3]
    for outside in (200, -201, sys.maxsize):
        with pytest.raises(IndexError):
            kvs[outside]
    with pytest.raises(TypeError, match="an int or a slice"):
        kvs["a"]  # type: ignore[call-overload]
    assert made[7] in kvs
    assert list(reversed(kvs)) == made[::-1]
    assert repr(kv.range("0001").kvs) == repr([made[1]])


def test_delete_needs_keys(kv: libkv.Db) -> None:
    filled(kv, "a", "b", "c")
    with pytest.raises(TypeError, match='prefix="" deletes all'):
        kv.delete()
    assert [found.key for found in kv.delete("a", prev_kv=True).prev_kvs] == [b"a"]
    assert kv.delete("none").revision == 5
    assert kv.delete(prefix="").deleted == 2


def test_requests_are_values(kv: libkv.Db) -> None:
    put = libkv.Put("k", "v", prev_kv=True)
    assert put == libkv.Put(b"k", b"v", prev_kv=True)
    assert put != libkv.Put("k", "w")
    assert libkv.Put(put) == put
    kv.put(put)
    assert kv.put(put).prev_kv is not None
    assert kv.delete(libkv.Delete(prefix="k")).deleted == 1
    for call in (
        lambda: kv.put(put, "v"),
        lambda: kv.put(put, lease=1),
        lambda: kv.range(libkv.Range("k"), limit=1),
        lambda: kv.delete(libkv.Delete("k"), prev_kv=True),
        lambda: kv.txn(libkv.Txn(), success=[]),
    ):
        with pytest.raises(TypeError, match="alone"):
            call()


def test_txn(kv: libkv.Db) -> None:
    kv.put("old")
    first = kv.txn(
        compare=[libkv.Compare.version("k", "==", 0)],
        success=[libkv.Put("k", "v"), libkv.Range("k"), libkv.Txn(success=[libkv.Delete("old", prev_kv=True)])],
        failure=[libkv.Range("k")],
    )
    assert first.succeeded
    put, found, nested = first.responses
    assert isinstance(put, libkv.PutResponse)
    assert isinstance(found, libkv.RangeResponse)
    assert isinstance(nested, libkv.TxnResponse)
    assert isinstance(nested.responses[0], libkv.DeleteResponse)
    assert [gone.key for gone in nested.responses[0].prev_kvs] == [b"old"]
    assert found.kvs == [kv.get("k")]
    with pytest.raises(TypeError, match="succeeded"):
        bool(first)
    every: list[tuple[libkv.Compare, bool]] = [
        (libkv.Compare.create_revision("none", "==", 0), True),
        (libkv.Compare.mod_revision(libkv.Range(prefix=""), "<", 4), True),
        (libkv.Compare.value("none", "!=", "x"), False),
        (libkv.Compare.lease("none", ">", -1), True),
    ]
    for compare, holds in every:
        assert kv.txn(libkv.Txn(compare=[compare])).succeeded is holds, compare
    wrong: list[dict[str, Any]] = [
        {"compare": 5},
        {"compare": ["k"]},
        {"success": libkv.Put("k")},
        {"success": ["k"]},
        {"failure": [None]},
        {"success": [libkv.Compare.version("k", "==", 0)]},
    ]
    for options in wrong:
        with pytest.raises(TypeError, match="must be"):
            kv.txn(**options)
    with pytest.raises(ValueError, match="result must be one of"):
        libkv.Compare.version("k", "=", 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only keys, no other option"):
        libkv.Compare.version(libkv.Range("k", limit=1), "==", 0)


def test_iterable_that_raises_writes_nothing(kv: libkv.Db) -> None:
    def operations() -> Any:
        yield libkv.Put("k", "v")
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        kv.txn(success=operations())
    assert kv.status().revision == 1


def test_snapshot_scan_changes_diff(kv: libkv.Db) -> None:
    filled(kv, "a", "b")
    with kv.snapshot() as snapshot:
        kv.put("a", "new")
        kv.delete("b")
        assert snapshot.revision == 3
        assert [found.value for found in snapshot.scan()] == [b"A", b"B"] == [f.value for f in snapshot.range()]
        assert snapshot.get("b")
        with pytest.raises(libkv.InvalidArgumentError):
            snapshot.range(revision=2)
    with pytest.raises(libkv.ClosedError):
        snapshot.get("a")
    assert kv.snapshot_at(2).range().kvs == kv.range(revision=2).kvs
    with pytest.raises(libkv.FutureRevisionError):
        kv.snapshot(9)
    assert [event.type for event in kv.events(1)] == ["put", "put", "put", "delete"]
    assert [event.kv.mod_revision for event in kv.events(2, 4, "a")] == [4]
    assert [(c.key, c.before is None, c.after is None) for c in kv.diff(2)] == [(b"a", False, False)]
    assert [c.key for c in kv.diff(1, 3, prefix="b")] == [b"b"]


def test_scan_is_at_one_revision_and_ends(kv: libkv.Db) -> None:
    kv.txn(success=[libkv.Put(f"{number:05}") for number in range(5_000)])
    scan = kv.scan()
    assert iter(scan) is scan
    next(scan)
    kv.delete(prefix="")
    assert sum(1 for _ in scan) == 4_999
    assert list(scan) == []
    early = kv.scan(revision=2)
    next(early)
    early.close()
    assert list(early) == []


def test_scan_ends_after_a_compaction(kv: libkv.Db) -> None:
    kv.txn(success=[libkv.Put(f"{number:05}") for number in range(5_000)])
    scan = kv.scan()
    next(scan)
    kv.put("a")
    kv.put("b")
    kv.compact(4, physical=True)
    with pytest.raises(libkv.CompactedError) as raised:
        list(scan)
    assert raised.value.revision == 4
    assert list(scan) == []


def fill(db: libkv.Db) -> None:
    for number in range(1_000):
        db.put(f"k{number}", bytes(4_000))


def test_quota_leaves_room_for_deletions(tmp_path: Path) -> None:
    quota = 1 << 20
    with libkv.open(tmp_path / "store", max_bytes=quota, durability="none") as db:
        assert db.status().max_bytes == quota
        with pytest.raises(libkv.FullError, match=f"max_bytes is {quota}: delete keys and compact, or raise max_bytes"):
            fill(db)
        assert db.status().bytes_in_use < quota
        db.compact(db.delete(start="").revision, physical=True)
        db.put("k", "there is room again")
        assert db.alarm_list() == []
    with libkv.open(tmp_path / "store", max_bytes=None) as db:
        assert db.status().max_bytes == quota
    with libkv.open(tmp_path / "store", max_bytes=0) as db:
        assert db.status().max_bytes is None
        fill(db)


def test_alarm_stays_until_it_is_disarmed() -> None:
    with libkv.open(":memory:", max_bytes=1 << 20, limits="etcd") as db:
        with pytest.raises(libkv.FullError):
            fill(db)
        (alarm,) = db.alarm_list()
        assert (alarm.kind, alarm.member) == ("nospace", int(db.status().store_id[16:], 16))
        assert db.status().alarms == [alarm]
        db.compact(db.delete(start="").revision, physical=True)
        with pytest.raises(libkv.FullError, match="alarm NOSPACE is active"):
            db.put("k")
        assert db.alarm_disarm(member=alarm.member ^ 1) == db.alarm_disarm(kind="corrupt") == []
        assert db.alarm_disarm() == [alarm]
        db.put("k")
        assert db.alarm_activate("corrupt", member=2**64 - 1) == db.alarm_list()
        with pytest.raises(libkv.CorruptError):
            db.delete("k")


def test_alarm_refusals(kv: libkv.Db) -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        kv.alarm_activate("NOSPACE")  # type: ignore[arg-type]
    with pytest.raises(OverflowError, match="member is beyond"):
        kv.alarm_activate("nospace", member=-1)
    with pytest.raises(TypeError, match="member"):
        kv.alarm_disarm(members=1)  # type: ignore[call-arg]


def test_status_and_check(kv: libkv.Db) -> None:
    filled(kv, "a", "b")
    status = kv.status()
    assert (status.revision, status.compacted_revision, status.keys, status.alarms) == (3, None, 2, [])
    assert (status.poisoned, status.removed) == (False, False)
    assert (status.writer_pid, status.writer_held_ms, status.oldest_reader) == (None, None, None)
    assert len(status.store_id) == 32
    report = kv.check()
    assert (report.keys, report.events, report.problems) == (2, 2, [])


# --- transact


def test_transact_adds_up_over_threads(kv: libkv.Db) -> None:
    def add(t: libkv.Transaction) -> int:
        found = t.get("n")
        total = int(found.value) + 1 if found else 1
        t.put("n", str(total))
        return total

    def work() -> None:
        for _ in range(50):
            kv.transact(add, max_retries=None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kv.get("n")
    assert found is not None
    assert (found.value, found.version) == (b"200", 200)


def test_transact_sees_its_own_writes(kv: libkv.Db) -> None:
    filled(kv, "a", "b")

    def body(t: libkv.Transaction) -> list[bytes]:
        assert t.delete("a") == 1
        t.put("c", "C")
        t.put(libkv.Put("d"))
        assert t.get("a") is None
        assert t.range(prefix="", limit=1).count == 3
        return [found.key for found in t.range(keys_only=True)]

    assert kv.transact(body) == [b"b", b"c", b"d"]
    assert kv.status().revision == 4


def test_transact_ends_with_the_exception_of_its_body(kv: libkv.Db) -> None:
    kept: list[libkv.Transaction] = []

    def body(t: libkv.Transaction) -> None:
        kept.append(t)
        t.put("k", "v")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        kv.transact(body)
    assert len(kept) == 1
    assert kv.status().revision == 1
    with pytest.raises(libkv.ClosedError, match="over"):
        kept[0].put("k", "v")


def test_transact_gives_up_with_conflict(kv: libkv.Db) -> None:
    kv.put("k", "0")
    tries: list[int] = []

    def body(t: libkv.Transaction) -> None:
        t.get("k")
        kv.put("k", str(len(tries)))
        tries.append(1)
        t.put("k", "mine")

    with pytest.raises(libkv.ConflictError):
        kv.transact(body, max_retries=3)
    assert len(tries) == 4


def test_transact_retries_after_a_compaction(kv: libkv.Db) -> None:
    filled(kv, "a", "b")
    tries: list[int] = []

    def body(t: libkv.Transaction) -> None:
        t.get("a")
        if not tries:
            tries.append(1)
            kv.compact(kv.put("c").revision)
        t.get("b")
        t.put("a", "again")

    kv.transact(body)
    found = kv.get("a")
    assert found is not None
    assert found.value == b"again"


def test_transact_refuses_what_it_cannot_run(kv: libkv.Db) -> None:
    async def body(t: libkv.Transaction) -> None: ...

    with pytest.raises(TypeError, match=r"libkv\.aio"):
        kv.transact(body)  # type: ignore[unused-coroutine]
    with pytest.raises(TypeError, match="a function"):
        kv.transact(5)  # type: ignore[arg-type]
    with pytest.raises(libkv.InvalidArgumentError):
        kv.transact(lambda t: t.range(revision=1))  # type: ignore[call-arg]
    with pytest.raises(libkv.InvalidArgumentError):
        kv.transact(lambda t: t.delete("k", prev_kv=True))  # type: ignore[call-arg]


# --- errors


def test_errors_have_a_class_for_each_code() -> None:
    for code in _libkv._codes():
        name = "".join(part.capitalize() for part in code.split("_")) + "Error"
        cls = getattr(libkv, name)
        assert cls.code == code
        assert issubclass(cls, libkv.Error)
        assert cls.__doc__
        assert name in libkv.__all__
        assert cls.__module__ == "libkv"
    assert {*_codes.BY_CODE} == {*_libkv._codes(), "error"}


def test_errors_have_the_parents_that_programs_expect(tmp_path: Path) -> None:
    parents: list[tuple[type[Exception], type[Exception]]] = [
        (libkv.InvalidArgumentError, ValueError),
        (libkv.TooLargeError, ValueError),
        (libkv.DuplicateKeyError, ValueError),
        (libkv.CompactedError, LookupError),
        (libkv.IoError, OSError),
        (libkv.FullError, OSError),
        (libkv.NotFoundError, FileNotFoundError),
        (libkv.ExistsError, FileExistsError),
        (libkv.PermissionDeniedError, PermissionError),
        (libkv.BusyError, TimeoutError),
        (libkv.TimeoutError, TimeoutError),
        (libkv.UnavailableError, ConnectionError),
        (libkv.UnsupportedError, NotImplementedError),
    ]
    for child, parent in parents:
        assert issubclass(child, parent)
    with pytest.raises(FileNotFoundError) as raised:
        libkv.open(tmp_path / "none", create=False)
    assert isinstance(raised.value, libkv.NotFoundError)
    assert "none" in str(raised.value)
    assert raised.value.errno == 2


def test_error_has_code_message_and_revision(kv: libkv.Db) -> None:
    with pytest.raises(libkv.Error) as raised:
        kv.get("k", revision=9)
    error = raised.value
    assert (error.code, error.revision) == ("future_revision", 1)
    assert "future revision" in error.message
    assert str(error) == error.message
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.revision) == (type(error), error.message, 1)


def test_error_has_lease_and_key_as_fields(kv: libkv.Db) -> None:
    with pytest.raises(libkv.LeaseNotFoundError) as raised:
        kv.put("k", lease=77)
    assert (raised.value.lease, raised.value.key, raised.value.revision) == (77, None, None)
    kv.lease_grant(60, id=77)
    with pytest.raises(libkv.LeaseExistsError) as exists:
        kv.lease_grant(60, id=77)
    assert exists.value.lease == 77
    with pytest.raises(libkv.KeyNotFoundError) as missing:
        kv.put(b"\xff", ignore_value=True)
    assert (missing.value.key, missing.value.lease) == (b"\xff", None)
    again = pickle.loads(pickle.dumps(missing.value))
    assert again.key == b"\xff"


def test_panic_becomes_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(libkv.InternalError, match="panic for a test"):
        _libkv._panic()
    capfd.readouterr()


def test_key_that_is_empty_is_refused_by_the_library(kv: libkv.Db) -> None:
    for call in (lambda: kv.put("", "v"), lambda: kv.get(b""), lambda: kv.delete("")):
        with pytest.raises(libkv.InvalidArgumentError, match="key is not provided"):
            call()


# --- values and classes


def test_values_have_a_repr(kv: libkv.Db) -> None:
    kv.put("k", "v")
    assert repr(kv.get("k")) == (
        "KeyValue(key=b'k', value=b'v', create_revision=2, mod_revision=2, version=1, lease=0)"
    )
    assert repr(kv.put("k", "v")) == "PutResponse(revision=3, prev_kv=None)"
    assert repr(kv) == '<libkv.Db ":memory:">'
    assert repr(kv.snapshot()) == "<libkv.Snapshot of revision 3>"
    for text in (
        "Put(b'k', b'v', lease=7, prev_kv=True, durability='lazy')",
        "Range(prefix=b'k', limit=2, sort_order='descend', sort_target='mod', keys_only=True)",
        "Range(start=b'a', end=b'c', revision=3)",
        "Range(start=b'a')",
        "Delete(b'k', prev_kv=True)",
        "Delete(prefix=b'')",
        "Compare.value(b'k', '!=', b'v')",
        "Compare.version(Range(prefix=b'k'), '>', 0)",
    ):
        names = {name: getattr(libkv, name) for name in libkv.__all__}
        value = eval(text, names)
        assert repr(value) == text
        assert eval(repr(value), names) == value
    assert repr(libkv.Clock(5)) == "Clock(5)"
    assert "1 on success" in repr(libkv.Txn(success=[libkv.Put("k")]))


def test_values_are_equal_by_fields_and_cannot_be_changed(kv: libkv.Db) -> None:
    kv.put("k", "v")
    first, second = kv.get("k"), kv.get("k")
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)
    assert first != kv.put("k", "v")
    with pytest.raises(AttributeError):
        first.value = b"w"  # type: ignore[union-attr, misc]
    match kv.get("k"):
        case libkv.KeyValue(key, value):
            assert (key, value) == (b"k", b"v")
        case _:
            pytest.fail("no match")


def test_handles_refuse_to_be_pickled_or_copied(kv: libkv.Db) -> None:
    kept: list[libkv.Transaction] = []
    kv.transact(kept.append)
    for handle in (kv, kv.snapshot(), kv.scan(), kv.events(1), kv.diff(1), libkv.Clock(1), *kept):
        for copier in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                copier(handle)


def test_classes_that_cannot_be_made_or_inherited() -> None:
    for cls in (libkv.Db, libkv.Snapshot, libkv.Scan, libkv.KeyValue, libkv.Transaction):
        with pytest.raises(TypeError):
            cls()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        type("Mine", (libkv.Db,), {})


def test_docstrings_of_everything_public() -> None:
    assert libkv.__doc__
    for name in libkv.__all__:
        value = getattr(libkv, name)
        if name == "__version__":
            continue
        assert value.__doc__, name
        assert value.__module__ in ("libkv", "libkv._libkv"), name
        for attribute in vars(value) if inspect.isclass(value) else ():
            if not attribute.startswith("_"):
                assert inspect.getdoc(getattr(value, attribute)), f"{name}.{attribute}"


def test_manual_clock() -> None:
    clock = libkv.Clock(1_000)
    clock.advance(500)
    clock.advance(-5)
    assert clock.unix_ms == 1_500


def test_fixtures(kv: libkv.Db, kv_etcd: libkv.Db, kv_clock: libkv.Clock) -> None:
    assert kv.status().revision == kv_etcd.status().revision == 1
    with pytest.raises(libkv.TooManyOpsError):
        kv_etcd.txn(success=[libkv.Put(str(n)) for n in range(129)])
    kv_clock.advance(1)


# --- waiting


def test_threads_run_while_a_write_waits(holder: Holder) -> None:
    db = libkv.open(holder.path, busy_timeout_ms=math.inf)
    responses: list[libkv.PutResponse] = []
    waiting = threading.Thread(target=lambda: responses.append(db.put("k", "v")))
    waiting.start()
    # a count, not a time: the reads need the interpreter, which the waiting write must release
    for _ in range(20_000):
        assert db.get("k") is None
    assert waiting.is_alive()
    holder.release()
    waiting.join()
    assert db.range("k").revision == responses[0].revision
    db.close()


def test_busy_names_the_holder(holder: Holder) -> None:
    with libkv.open(holder.path, busy_timeout_ms=0) as db:
        with pytest.raises(libkv.BusyError, match=str(holder.pid)):
            db.put("k", "v")
        assert db.status().writer_pid == holder.pid


def test_ctrl_c_ends_a_wait(holder: Holder) -> None:
    with libkv.open(holder.path, busy_timeout_ms=math.inf) as db:
        main = threading.get_ident()
        threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt) as raised:
            db.put("k", "v")  # only the signal ends this wait
        assert raised.value.__cause__ is None
        holder.release()
        before = db.status().revision
        assert db.put("other").revision == before + 1
        assert db.get("k") is None, "the interrupted write was withdrawn"
