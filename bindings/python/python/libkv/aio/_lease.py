"""Leases that are kept alive."""

import asyncio
from collections.abc import Callable
from typing import Self
from weakref import ref

import libkv
from libkv import _libkv
from libkv.aio._mailbox import mailbox_of, revoke


class Lease:
    """A lease that is kept alive; created by lease(). See libkv.Lease.

    An asynchronous context manager that closes it.
    """

    def __init__(self, lease: libkv.Lease, db: libkv.Db) -> None:
        self._lease = lease
        self._db = db
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._waits: list[_libkv._Wait] = []

    @property
    def id(self) -> int:
        """Its id, to attach keys to it."""
        return self._lease.id

    @property
    def ttl_seconds(self) -> int:
        """The granted TTL in seconds."""
        return self._lease.ttl_seconds

    @property
    def remaining(self) -> int:
        """The remaining seconds of its TTL, rounded down; 0 if it does not exist any more.

        UnsupportedError on a cluster, because it would wait: use lease_time_to_live(id).
        """
        if self._db._is_remote:
            message = "remaining does not wait, and this is a cluster: await lease_time_to_live(id) instead"
            raise libkv.UnsupportedError(message)
        return self._lease.remaining

    @property
    def lost(self) -> bool:
        """Whether it is known to be lost; False after close()."""
        return self._lease.lost

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call callback() on the running loop when the lease is lost; never after close().

        A lease that is lost already calls it soon.
        The loss is noticed at the next keep-alive, after at most a third of the TTL.
        """
        if not callable(callback):
            message = f"callback must be a function without arguments, not {type(callback).__name__}"
            raise TypeError(message)
        number = len(self._waits)
        loop = asyncio.get_running_loop()
        self._callbacks[number] = callback
        self._waits.append(self._lease._on_lost(mailbox_of(loop), _LossFuture(self, number, loop)))

    def _call_back(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        callback = self._callbacks.pop(number, None)
        if callback is not None:
            loop.call_soon(callback)

    async def close(self) -> None:
        """Stop keeping it alive and revoke it, which deletes its keys; see libkv.Lease.close()."""
        for wait in self._waits:
            wait.end()
        self._callbacks.clear()
        if self._lease._stop():
            request = _libkv._Request.lease_revoke(self.id)
            await revoke(lambda mailbox, future: self._db._submit(request, mailbox, future))

    async def __aenter__(self) -> Self:
        self._lease.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._lease).replace("libkv.Lease", "libkv.aio.Lease")


class _LossFuture:
    """A future of a loop that calls a callback of a lease, without a reference to the lease."""

    def __init__(self, lease: Lease, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._lease = ref(lease)
        self._number = number
        self._loop = ref(loop)

    def done(self) -> bool:
        return False

    def set_result(self, _: None) -> None:
        lease, loop = self._lease(), self._loop()
        if lease is not None and loop is not None:
            lease._call_back(self._number, loop)
