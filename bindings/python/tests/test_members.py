"""Members, the hash of the history, and snapshot files, of libkv and of libkv.aio."""

import asyncio
from pathlib import Path
from typing import Any

import libkv
import libkv.aio
import pytest

URL = "http://127.0.0.1:1"


def test_hash_kv_is_that_of_etcd() -> None:
    with libkv.open(":memory:") as db:
        assert db.hash_kv().hash == 1084519789
        db.put("a", "0")
        hashed = db.hash_kv(2)
        assert hashed == libkv.HashKvResponse(2, 1750265556, -1, 2)
        assert repr(hashed) == "HashKvResponse(revision=2, hash=1750265556, compact_revision=-1, hash_revision=2)"
        db.put("a", "1")
        db.compact(3)
        assert (db.hash_kv().compact_revision, db.hash_kv().hash_revision) == (3, 3)
        with pytest.raises(libkv.CompactedError):
            db.hash_kv(2)
        with pytest.raises(libkv.FutureRevisionError) as future:
            db.hash_kv(4)
        assert future.value.revision == 3
        with pytest.raises(libkv.InvalidArgumentError):
            db.hash_kv(-1)
        with pytest.raises(TypeError):
            db.hash_kv("1")  # type: ignore[arg-type]


def test_store_is_one_member() -> None:
    with libkv.open(":memory:") as db:
        [member] = db.member_list()
        assert (member.name, member.peer_urls, member.client_urls, member.is_learner) == ("", [], [], False)
        assert db.status().store_id.endswith(f"{member.id:016x}")
        db.move_leader(member.id)
        with pytest.raises(libkv.FailedPreconditionError):
            db.move_leader(0)
        changes: list[Any] = [
            lambda: db.member_add([URL], learner=True),
            lambda: db.member_remove(member.id),
            lambda: db.member_update(member.id, [URL]),
            lambda: db.member_promote(member.id),
        ]
        for change in changes:
            with pytest.raises(libkv.UnsupportedError, match=r"kv snapshot save.*etcdutl snapshot restore"):
                change()
        for wrong in (URL, 1, [1], None):
            with pytest.raises(TypeError, match="peer_urls"):
                db.member_add(wrong)  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            db.member_remove(-1)
    with pytest.raises(libkv.ClosedError):
        db.member_list()


def test_snapshot_is_restored(tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    with libkv.open(":memory:") as db:
        db.put("a", "0")
        revision = db.put("a", "1").revision
        assert db.snapshot_save(file) == revision
        with pytest.raises(libkv.ExistsError):
            db.snapshot_save(str(file))
        assert libkv.restore(file, tmp_path / "store") == revision
        with libkv.open(tmp_path / "store") as restored:
            assert restored.hash_kv() == db.hash_kv()
            assert list(restored.events(1)) == list(db.events(1))
    with pytest.raises(libkv.ExistsError):
        libkv.restore(file, tmp_path / "store")
    with pytest.raises(libkv.NotFoundError):
        libkv.restore(tmp_path / "none", tmp_path / "other")
    cut = tmp_path / "cut.db"
    cut.write_bytes(file.read_bytes()[:-32])
    with pytest.raises(libkv.CorruptError):
        libkv.restore(cut, tmp_path / "other")
    assert libkv.restore(cut, tmp_path / "other", skip_hash_check=True) == revision


def test_aio_has_members_hashes_and_snapshots(tmp_path: Path) -> None:
    async def run() -> None:
        async with libkv.aio.open(":memory:") as db:
            await db.put("a", "0")
            assert (await db.hash_kv(2)).hash == 1750265556
            [member] = await db.member_list()
            await db.move_leader(member.id)
            for change in (
                db.member_add([URL]),
                db.member_remove(member.id),
                db.member_update(member.id, [URL]),
                db.member_promote(member.id),
            ):
                with pytest.raises(libkv.UnsupportedError):
                    await change
            assert await db.snapshot_save(tmp_path / "backup.db") == 2
            assert await libkv.aio.restore(tmp_path / "backup.db", tmp_path / "store") == 2

    asyncio.run(run())


def test_cluster_has_members_and_hashes(tmp_path: Path) -> None:
    with libkv.open(":memory:") as store, libkv.serve(store) as server, libkv.open(server.address) as db:
        db.put("a", "0")
        assert db.hash_kv() == store.hash_kv()
        [member] = db.member_list()
        assert member.id == store.member_list()[0].id
        assert member.client_urls == [server.address]
        with pytest.raises(libkv.InvalidArgumentError):
            db.member_update(member.id, ["nowhere"])
        db.member_update(member.id, [URL])
        assert db.member_list()[0].peer_urls == [URL]
        with pytest.raises(libkv.NotFoundError):
            db.member_remove(1)
        with pytest.raises(libkv.FailedPreconditionError):
            db.member_remove(member.id)
        with pytest.raises(libkv.UnsupportedError):
            db.member_add(["http://127.0.0.1:2"])
        db.move_leader(member.id)
        with pytest.raises(libkv.UnsupportedError):
            db.snapshot_save(tmp_path / "backup.db")
