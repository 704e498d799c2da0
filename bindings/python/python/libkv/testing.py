"""Fixtures for pytest: a store in memory for each test, also served. pytest finds them when libkv is installed.

    def test_greeting(kv):
        kv.put("greeting", "hello")
        assert kv.get("greeting").value == b"hello"

A store in memory starts in milliseconds, leaves nothing behind, and has the semantics of one on disk. For a
test of async code, libkv.aio.Db(kv) is the same store to await.

    def test_a_guest_is_forgotten(kv_etcd, kv_clock):
        kv_etcd.put("guest", "here", lease=kv_etcd.lease_grant(10).id)
        kv_clock.advance(11_000)  # returns once what is due has expired
        assert kv_etcd.get("guest") is None

    def test_what_any_client_of_etcd_sees(kv_etcd, kv_server):
        with libkv.open(kv_server.address) as client:  # or etcdctl, or a client in any language
            client.put("greeting", "hello")
        assert kv_etcd.get("greeting").value == b"hello"
"""

from collections.abc import Iterator

import pytest

import libkv

START_UNIX_MS = 1_700_000_000_000
"""Where kv_clock stands when a test begins: 14 November 2023, 22:13:20 UTC."""


@pytest.fixture
def kv() -> Iterator[libkv.Db]:
    """A fresh store in memory, with libkv's own limits."""
    with libkv.open(":memory:") as db:
        yield db


@pytest.fixture
def kv_clock() -> libkv.Clock:
    """The clock of kv_etcd: it stands until the test calls kv_clock.advance(ms), and leases expire by it."""
    return libkv.Clock(START_UNIX_MS)


@pytest.fixture
def kv_etcd(kv_clock: libkv.Clock) -> Iterator[libkv.Db]:
    """A fresh store in memory with the limits of an etcd cluster, whose clock is kv_clock."""
    with libkv.open(":memory:", limits="etcd", clock=kv_clock) as db:
        yield db


@pytest.fixture
def kv_server(kv_etcd: libkv.Db) -> Iterator[libkv.Server]:
    """kv_etcd, served to any client of etcd on a free port of this machine: kv_server.address."""
    with libkv.serve(kv_etcd) as server:
        yield server
