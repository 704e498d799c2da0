"""Users, roles and permissions, on a store, on a cluster and in aio; servers that check clients."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import libkv
import libkv.aio
import pytest

BCRYPT_COST_FAST = 4


@pytest.fixture
def server(kv: libkv.Db) -> Iterator[libkv.Server]:
    with libkv.serve(kv, bcrypt_cost=BCRYPT_COST_FAST) as server:
        yield server


@pytest.fixture(params=["store", "cluster"])
def db(request: pytest.FixtureRequest, kv: libkv.Db, server: libkv.Server) -> Iterator[libkv.Db]:
    """The calls are the same for both."""
    if request.param == "store":
        yield kv
        return
    with libkv.open(server.address) as cluster:
        yield cluster


def test_users_and_their_roles(db: libkv.Db) -> None:
    revision = db.put("k", "v").revision
    assert db.auth_status() == libkv.AuthStatus(False, 1, revision)
    assert db.user_add("alice", "") == db.user_add("cn", no_password=True) == revision
    assert db.role_add("b") == db.role_add("a") == revision
    assert db.user_grant_role("alice", "b") == db.user_grant_role("alice", "a") == revision
    assert (db.user_list(), db.role_list(), db.user_get("alice")) == (["alice", "cn"], ["a", "b"], ["a", "b"])
    assert db.user_revoke_role("alice", "a") == db.role_delete("b") == revision
    assert db.user_get("alice") == []
    assert db.user_change_password("alice", "geheim") == db.user_delete("cn") == revision
    assert db.user_list() == ["alice"]
    assert db.auth_status() == libkv.AuthStatus(enabled=False, auth_revision=11, revision=revision)
    assert db.status().revision == revision


def test_permissions_are_values(db: libkv.Db) -> None:
    db.role_add("role")
    db.role_grant_permission("role", "read", b"a")
    db.role_grant_permission("role", "write", prefix="b")
    db.role_grant_permission("role", "readwrite", start="c", end="d")
    db.role_grant_permission("role", "read", start="e")
    db.role_grant_permission("role", libkv.Permission("write", b"f", b""))
    db.role_grant_permission("role", "readwrite", "a")  # the same range: replaced
    permissions = db.role_get("role")
    assert permissions == [
        libkv.Permission("readwrite", b"a", b""),
        libkv.Permission("write", b"b", b"c"),
        libkv.Permission("readwrite", b"c", b"d"),
        libkv.Permission("read", b"e", b"\0"),
        libkv.Permission("write", b"f", b""),
    ]
    match permissions[1]:
        case libkv.Permission(type, key, range_end):
            assert (type, key, range_end) == ("write", b"b", b"c")
    db.role_revoke_permission("role", prefix="b")
    db.role_revoke_permission("role", "a")
    for permission in db.role_get("role"):
        db.role_revoke_permission("role", permission)
    assert db.role_get("role") == []
    db.role_grant_permission("role", "read", prefix="")
    assert db.role_get("role") == [libkv.Permission("read", b"\0", b"\0")]
    assert repr(db.role_get("role")[0]) == "Permission(type='read', key=b'\\x00', range_end=b'\\x00')"


def test_refusals(db: libkv.Db) -> None:
    db.user_add("user", "x")
    db.role_add("role")
    conflicts: list[tuple[Callable[[], object], str]] = [
        (lambda: db.user_add("user", "x"), "user name already exists"),
        (lambda: db.user_get("none"), "user name not found"),
        (lambda: db.user_delete("none"), "user name not found"),
        (lambda: db.user_change_password("none", "x"), "user name not found"),
        (lambda: db.user_grant_role("user", "none"), "role name not found"),
        (lambda: db.user_revoke_role("user", "role"), "role is not granted to the user"),
        (lambda: db.role_add("role"), "role name already exists"),
        (lambda: db.role_get("none"), "role name not found"),
        (lambda: db.role_delete("none"), "role name not found"),
        (lambda: db.role_grant_permission("none", "read", "a"), "role name not found"),
        (lambda: db.role_revoke_permission("role", "a"), "permission is not granted to the role"),
        (db.auth_enable, "root user does not exist"),
    ]
    for call, words in conflicts:
        with pytest.raises(libkv.FailedPreconditionError, match=words):
            call()
    invalid: list[tuple[Callable[[], object], str]] = [
        (lambda: db.user_add("long", "x" * 73), "72 bytes"),
        (lambda: db.role_add(""), "role name is empty"),
        (lambda: db.role_grant_permission("role", "read", start="b", end="a"), "invalid auth management"),
    ]
    for call, words in invalid:
        with pytest.raises(libkv.InvalidArgumentError, match=words):
            call()
    assert db.auth_status().auth_revision == 3


def test_wrong_arguments(kv: libkv.Db) -> None:
    with pytest.raises(libkv.InvalidArgumentError, match="user name is empty"):
        kv.user_add("", "x")
    with pytest.raises(TypeError, match="a password, or no_password=True"):
        kv.user_add("x")
    with pytest.raises(TypeError, match="a password, or no_password=True"):
        kv.user_add("x", "y", no_password=True)
    with pytest.raises(TypeError, match="name must be a str, not bytes"):
        kv.user_add(b"x", "y")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean"):
        kv.user_add("x", no_pasword=True)  # type: ignore[call-arg]
    with pytest.raises(UnicodeEncodeError):
        kv.role_add("\ud800")
    with pytest.raises(ValueError, match="type must be one of"):
        kv.role_grant_permission("x", "READ", "a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="type must be one of"):
        kv.role_grant_permission("x", libkv.Permission("all", b"a", b""))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a key, or prefix="):
        kv.role_grant_permission("x", "read")
    with pytest.raises(TypeError, match="takes a key, or prefix="):
        kv.role_revoke_permission("x")
    with pytest.raises(TypeError, match="not several of them"):
        kv.role_grant_permission("x", "read", "a", prefix="b")
    with pytest.raises(TypeError, match="takes a request alone"):
        kv.role_revoke_permission("x", libkv.Permission("read", b"a", b""), prefix="b")
    assert (kv.user_list(), kv.role_list()) == ([], [])


def add_root_and_alice(db: libkv.Db) -> None:
    """Turn authentication on, with a user that may read config/."""
    db.user_add("root", "secret")
    db.user_grant_role("root", "root")
    db.role_add("reader")
    db.role_grant_permission("reader", "read", prefix="config/")
    db.user_add("alice", "password")
    db.user_grant_role("alice", "reader")
    db.auth_enable()


def test_server_checks_its_clients(kv: libkv.Db, server: libkv.Server) -> None:
    add_root_and_alice(kv)
    kv.put("config/a", "1")  # the owner of the store needs no user
    with pytest.raises(libkv.Error, match="user name is empty"), libkv.open(server.address) as anonymous:
        anonymous.get("config/a")
    with pytest.raises(libkv.Error, match="invalid user ID or password"):
        libkv.open(server.address, user="alice", password="wrong")
    with (
        libkv.open(server.address, user="root", password="secret") as root,
        libkv.open(server.address, user="alice", password="password") as alice,
    ):
        assert alice.get("config/a") == kv.get("config/a")
        for denied in (
            lambda: alice.put("config/a", "2"),
            lambda: alice.get("other"),
            alice.range,
            alice.user_list,
            alice.auth_disable,
        ):
            with pytest.raises(libkv.PermissionDeniedError, match="permission denied"):
                denied()
        assert alice.user_get("alice") == root.user_get("alice") == ["reader"]
        assert alice.auth_status().enabled
        root.role_grant_permission("reader", "readwrite", prefix="config/")
        alice.put("config/a", "2")
        with pytest.raises(libkv.InvalidArgumentError, match="invalid auth management"):
            root.user_delete("root")
        root.auth_disable()
        assert not kv.auth_status().enabled


def test_serve_options(kv: libkv.Db) -> None:
    with pytest.raises(libkv.InvalidArgumentError, match="auth_token"):
        libkv.serve(kv, auth_token="other")
    with pytest.raises(libkv.InvalidArgumentError, match=r"/nowhere\.key"):
        libkv.serve(kv, auth_token="jwt,sign-method=HS256,priv-key=/nowhere.key")
    with pytest.raises(OverflowError, match="bcrypt_cost"):
        libkv.serve(kv, bcrypt_cost=2**32)
    with pytest.raises(TypeError, match="auth_token must be a str"):
        libkv.serve(kv, auth_token=b"simple")  # type: ignore[arg-type]
    add_root_and_alice(kv)
    with (
        libkv.serve(kv, auth_token="", auth_token_ttl_seconds=1) as server,
        pytest.raises(libkv.Error, match="auth"),
        libkv.open(server.address, user="alice", password="password") as alice,
    ):
        alice.get("config/a")  # no tokens: there are only certificates


def test_aio_has_the_same_calls(server: libkv.Server) -> None:
    async def main() -> None:
        async with libkv.aio.open(":memory:") as store, libkv.aio.open(server.address) as cluster:
            for db in (store, cluster):
                assert not (await db.auth_status()).enabled
                await db.user_add("root", "secret")
                await db.user_grant_role("root", "root")
                await db.user_add("cn", no_password=True)
                await db.role_add("role")
                await db.role_grant_permission("role", "write", prefix="a")
                assert await db.role_get("role") == [libkv.Permission("write", b"a", b"b")]
                await db.role_revoke_permission("role", (await db.role_get("role"))[0])
                await db.user_grant_role("cn", "role")
                assert await db.user_get("cn") == await db.role_list() == ["role"]
                await db.user_revoke_role("cn", "role")
                await db.role_delete("role")
                await db.user_change_password("cn", "x")
                await db.user_delete("cn")
                assert await db.user_list() == ["root"]
            await store.auth_enable()
            assert (await store.auth_status()).enabled
            await store.auth_disable()

    asyncio.run(main())


def test_hashing_does_not_block_the_loop() -> None:
    async def main() -> None:
        async with libkv.aio.open(":memory:") as db:
            calls: list[Callable[[], Coroutine[Any, Any, int]]] = [
                lambda: db.user_add("user", "password"),
                lambda: db.user_change_password("user", "other"),
            ]
            for call in calls:
                task = asyncio.create_task(call())
                # its first step; a call that runs on the loop would be done after it
                await asyncio.sleep(0)
                assert not task.done()
                await task

    asyncio.run(main())
