"""Fixtures for pytest: a store in memory for each test, also served.

pytest finds them if libkv is installed.

    def test_greeting(kv):
        kv.put("greeting", "hello")
        assert kv.get("greeting").value == b"hello"

A store in memory opens in milliseconds, has no files, and has the semantics of a store on disk. For
async code, libkv.aio.Db(kv) is the same store with awaitable calls.

    def test_guest_expires(kv_etcd, kv_clock):
        kv_etcd.put("guest", "here", lease=kv_etcd.lease_grant(10).id)
        kv_clock.advance(11_000)  # returns when everything that is due has expired
        assert kv_etcd.get("guest") is None

    def test_etcd_client_reads(kv_etcd, kv_server):
        with libkv.open(kv_server.address) as client:  # or etcdctl, or a client in any language
            client.put("greeting", "hello")
        assert kv_etcd.get("greeting").value == b"hello"
"""

from collections.abc import Iterator

import pytest

import libkv

START_UNIX_MS = 1_700_000_000_000
"""The time of kv_clock at the start of a test: 14 November 2023, 22:13:20 UTC."""


@pytest.fixture
def kv() -> Iterator[libkv.Db]:
    """A new store in memory, with the limits of libkv."""
    with libkv.open(":memory:") as db:
        yield db


@pytest.fixture
def kv_clock() -> libkv.Clock:
    """The manual clock of kv_etcd: only kv_clock.advance(ms) changes its time, also for leases."""
    return libkv.Clock(START_UNIX_MS)


@pytest.fixture
def kv_etcd(kv_clock: libkv.Clock) -> Iterator[libkv.Db]:
    """A new store in memory with the limits of an etcd cluster and the clock kv_clock."""
    with libkv.open(":memory:", limits="etcd", clock=kv_clock) as db:
        yield db


@pytest.fixture
def kv_server(kv_etcd: libkv.Db) -> Iterator[libkv.Server]:
    """kv_etcd, served to any client of etcd on a free port of this machine: kv_server.address."""
    with libkv.serve(kv_etcd) as server:
        yield server
