"""Watchers."""

from typing import Self

import libkv
from libkv.aio._sources import Iteration, RemoteSource, next_item


class Watcher:
    """Watches a range; created by watch(). See libkv.Watcher.

    An asynchronous iterator of libkv.WatchBatch. One task at a time may read. An asynchronous
    context manager that closes it. If a cluster refuses the watch, the first step or `async with`
    raises the exception. `async with` waits until the cluster has confirmed the watcher, as do
    writes through the same Db.
    """

    def __init__(self, watcher: libkv.Watcher | RemoteSource[libkv.WatchBatch], db: libkv.Db) -> None:
        self._watcher = watcher
        self._iteration = Iteration(watcher, db)

    async def next(self, timeout: float | None = None) -> libkv.WatchBatch | None:
        """Wait for the next batch; None after timeout (seconds; None: no limit)."""
        return await next_item(self._watcher, timeout)

    def try_next(self) -> libkv.WatchBatch | None:
        """Return the next batch if there is one now, otherwise None."""
        return self._watcher.try_next()

    def cancel(self) -> None:
        """Cancel it, from any thread: a waiting call raises CancelledError, an iteration ends."""
        self._watcher.cancel()

    def close(self) -> None:
        """Close it, from any thread: every later call raises ClosedError.

        A second close has no effect.
        """
        self._watcher.close()

    @property
    def resume_revision(self) -> int:
        """The start_revision of a watcher that continues this one; see libkv.Watcher."""
        return self._watcher.resume_revision

    def fileno(self) -> int:
        """Return a descriptor that is readable while try_next() may return a batch.

        Await does not need it.
        """
        return self._watcher.fileno()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> libkv.WatchBatch:
        return await self._iteration.step()

    async def __aenter__(self) -> Self:
        if isinstance(self._watcher, RemoteSource):
            await self._watcher.confirmed()
        self._watcher.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._watcher).replace("libkv.Watcher", "libkv.aio.Watcher")
