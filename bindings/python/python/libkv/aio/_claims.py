"""Locks and elections."""

import asyncio
import contextlib
from typing import Final, Self, cast

import libkv
from libkv import _libkv
from libkv._types import BytesLike
from libkv.aio._calls import run
from libkv.aio._mailbox import mailbox_of, revoke
from libkv.aio._requests import Requests
from libkv.aio._sources import Iteration, RemoteSource, next_item

GRACE: Final = 0.6
"""Seconds after the time limit of a claim, in which its key is deleted."""


async def _acquire(
    claim: _libkv._Claim, value: BytesLike, timeout: float | None, db: Requests, *, only_if_free: bool = False
) -> bool:
    """Claim a name and wait for it; False if it was to be taken only if it is free, and is not."""
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    # a time of 0 limits no request: the claim ends where it would wait for another
    limit = until if timeout else None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(limit):
            await db._confirm_watchers()
    future: asyncio.Future[None] = loop.create_future()
    claim.start(value, timeout, only_if_free, mailbox_of(loop), future)
    try:
        for end in (None,) if limit is None else (limit, limit + GRACE):
            await asyncio.wait([future], timeout=None if end is None else end - loop.time())
            if future.done():
                break
            claim.time_out()
        return claim.finish()
    finally:
        claim.cancel()


class Leaders:
    """The leaders of an election; created by Election.observe(). See libkv.Leaders.

    An asynchronous iterator of libkv.KeyValue; one task at a time may read. An asynchronous context
    manager that closes it.
    """

    def __init__(self, leaders: libkv.Leaders | RemoteSource[libkv.KeyValue], db: libkv.Db) -> None:
        self._leaders = leaders
        self._iteration = Iteration(leaders, db)

    async def next(self, timeout: float | None = None) -> libkv.KeyValue | None:
        """Wait for the next leader's pair; None after timeout (seconds; None: no limit)."""
        return await next_item(self._leaders, timeout)

    def try_next(self) -> libkv.KeyValue | None:
        """Return the next leader's pair if there is one now, otherwise None."""
        return self._leaders.try_next()

    def close(self) -> None:
        """Close it, from any thread: every later call raises ClosedError.

        A second close has no effect.
        """
        self._leaders.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> libkv.KeyValue:
        return await self._iteration.step()

    async def __aenter__(self) -> Self:
        if isinstance(self._leaders, RemoteSource):
            await self._leaders.confirmed()
        self._leaders.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<libkv.aio.Leaders>"


class Lock:
    """A lock between all tasks and processes; created by lock(). See libkv.Lock.

    One holder at a time. An asynchronous context manager that acquires and releases it. Each task
    needs its own Lock.
    """

    def __init__(self, claim: _libkv._Claim, db: Requests) -> None:
        self._claim = claim
        self._db = db

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait until the lock is acquired, at most timeout seconds; see libkv.Lock.acquire().

        Cancelling it deletes its key.
        """
        self._claim.begin()
        try:
            if not self._claim.is_held:
                await _acquire(self._claim, b"", timeout, self._db)
        finally:
            self._claim.end()

    async def try_acquire(self) -> bool:
        """Acquire the lock if it is free and has no waiters; whether it is held now."""
        self._claim.begin()
        try:
            return self._claim.is_held or await _acquire(self._claim, b"", None, self._db, only_if_free=True)
        finally:
            self._claim.end()

    async def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        self._claim.begin()
        try:
            await revoke(self._claim.leave)
        finally:
            self._claim.end()

    @property
    def is_held(self) -> bool:
        """Whether it is held, as far as is known: False once its lease is known to be lost."""
        return self._claim.is_held

    @property
    def key(self) -> bytes:
        """Its key in the store while it is held; otherwise empty."""
        return self._claim.key

    @property
    def revision(self) -> int | None:
        """Its key's create_revision, for fencing; None before it is acquired and once released."""
        return self._claim.revision

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.release()

    def __repr__(self) -> str:
        return f"<libkv.aio.Lock {self._claim!r}, {'held' if self.is_held else 'not held'}>"


class Election:
    """An election of one leader among all candidates; created by election(). See libkv.Election.

    An asynchronous context manager that resigns.
    """

    def __init__(self, claim: _libkv._Claim, db: Requests) -> None:
        self._claim = claim
        self._db = db

    async def campaign(self, value: BytesLike, timeout: float | None = None) -> None:
        """Wait until it leads, at most timeout seconds; see libkv.Election.campaign().

        Cancelling it deletes its key.
        """
        self._claim.begin()
        try:
            if self._claim.is_held:
                await self.proclaim(value)
            else:
                await _acquire(self._claim, value, timeout, self._db)
        finally:
            self._claim.end()

    async def proclaim(self, value: BytesLike) -> None:
        """Change the value of the leader; see libkv.Election.proclaim()."""
        proclamation = self._claim.proclamation(value)
        if not cast("libkv.TxnResponse", await self._db._write(proclamation)).succeeded:
            raise self._claim.lost()

    async def leader(self) -> libkv.KeyValue | None:
        """The leader's pair, or None. The leader may be in another process."""
        return await run(self._db._db, self._claim.leader)

    def observe(self) -> Leaders:
        """Iterate over the current leader, each new leader and each new value."""
        return Leaders(self._db._source(self._claim.observe, resume=0, reads_wait=True), self._db._db)

    async def resign(self) -> None:
        """Resign; does nothing if it does not lead."""
        self._claim.begin()
        try:
            await revoke(self._claim.leave)
        finally:
            self._claim.end()

    @property
    def is_leader(self) -> bool:
        """Whether it leads, as far as is known: False once its lease is known to be lost."""
        return self._claim.is_held

    @property
    def key(self) -> bytes:
        """Its key in the store while it leads; otherwise empty."""
        return self._claim.key

    @property
    def revision(self) -> int | None:
        """Its key's create_revision, for fencing; None before it leads and after it resigns."""
        return self._claim.revision

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.resign()

    def __repr__(self) -> str:
        return f"<libkv.aio.Election {self._claim!r}, {'leads' if self.is_leader else 'does not lead'}>"
