"""Sources of items that wake the loop: watchers and leaders, also those of a cluster."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import libkv
from libkv import _libkv
from libkv.aio._calls import STEPS_IN_A_ROW
from libkv.aio._mailbox import mailbox_of

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Item_co = TypeVar("_Item_co", covariant=True)


class Source(Protocol[_Item_co]):
    """A source of items: a libkv.Watcher or libkv.Leaders."""

    def try_next(self) -> _Item_co | None: ...
    def _wait(self, mailbox: _libkv._Mailbox, future: asyncio.Future[None]) -> _libkv._Wait: ...


async def next_item(source: "Source[_T] | RemoteSource[_T]", timeout: float | None) -> _T | None:
    """Wait for the next item; None after timeout (seconds)."""
    if isinstance(source, RemoteSource):
        return await source.next(timeout)
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    while True:
        item = source.try_next()
        left = None if until is None else until - loop.time()
        if item is not None or (left is not None and left <= 0):
            return item
        await _wait(source, left)


async def _wait(source: Source[Any], timeout: float | None) -> None:
    """Wait until there may be an item, at most timeout seconds."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    wait = source._wait(mailbox_of(loop), future)
    try:
        await asyncio.wait([future], timeout=timeout)
    finally:
        wait.end()


class RemoteSource(Generic[_Item]):
    """A watcher or leaders of a cluster, created on a thread: the cluster has to confirm it.

    With reads_wait each read of an item is a request to the cluster as well.
    """

    def __init__(
        self, make: Callable[[], Any], opening: set["asyncio.Future[Any]"], *, resume: int, reads_wait: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._resume = resume
        self._reads_wait = reads_wait
        self._looking: asyncio.Future[_Item | None] | None = None
        self._how: str | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._made: asyncio.Future[Any] = self._loop.run_in_executor(None, make)
        opening.add(self._made)
        self._made.add_done_callback(opening.discard)
        self._made.add_done_callback(lambda _: self._settle())

    def _settle(self) -> None:
        """End a source that was ended before it was confirmed, and wake its waiter."""
        refused = self._made.done() and (self._made.cancelled() or self._made.exception() is not None)
        if self._how is None:
            return
        if not self._over.done():
            self._over.set_result(None)
        if self._made.done() and not refused:
            getattr(self._made.result(), self._how)()

    def _there(self) -> Any:
        """The native source, or None while it is not confirmed."""
        if self._made.done():
            return self._made.result()
        match self._how:
            case "cancel":
                raise libkv.CancelledError("the watcher was cancelled")
            case "close":
                raise libkv.ClosedError("the watcher is closed")
        return None

    async def confirmed(self) -> None:
        while self._there() is None:
            await asyncio.wait([self._made, self._over], return_when=asyncio.FIRST_COMPLETED)

    async def next(self, timeout: float | None) -> _Item | None:
        until = None if timeout is None else self._loop.time() + timeout
        while (native := self._there()) is None:
            left = None if until is None else until - self._loop.time()
            if left is not None and left <= 0:
                return None
            await asyncio.wait([self._made, self._over], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        while self._reads_wait:
            # after a cancellation the next call takes the result of this read
            self._looking = self._looking or self._loop.run_in_executor(None, native.try_next)
            left = None if until is None else max(until - self._loop.time(), 0)
            # a timeout of 0 does not limit the request itself
            await asyncio.wait([self._looking], timeout=left if timeout else None)
            if not self._looking.done():
                return None
            looked, self._looking = self._looking, None
            item = looked.result()
            left = None if until is None else until - self._loop.time()
            if item is not None or (left is not None and left <= 0):
                return item
            await _wait(native, left)
        return await next_item(cast("Source[_Item]", native), None if until is None else until - self._loop.time())

    def try_next(self) -> _Item | None:
        if self._reads_wait:
            message = "try_next() does not wait, and this is a cluster: await next(0) instead"
            raise libkv.UnsupportedError(message)
        native = self._there()
        return None if native is None else cast("_Item | None", native.try_next())

    def cancel(self) -> None:
        self._end("cancel")

    def close(self) -> None:
        self._end("close")

    def _end(self, how: str) -> None:
        if self._made.done():
            if not self._made.cancelled() and self._made.exception() is None:
                getattr(self._made.result(), how)()
        elif self._how is None and not self._loop.is_closed():
            self._how = how
            self._loop.call_soon_threadsafe(self._settle)

    @property
    def resume_revision(self) -> int:
        native = self._made.result() if self._made.done() and self._made.exception() is None else None
        return self._resume if native is None else cast("int", native.resume_revision)

    def fileno(self) -> int:
        native = self._there()
        if native is None:
            message = "the cluster has not confirmed the watcher yet: await next() instead"
            raise libkv.FailedPreconditionError(message)
        return cast("int", native.fileno())

    def __enter__(self) -> Self:
        self._there()
        return self

    def __repr__(self) -> str:
        return repr(self._made.result()) if self._made.done() and not self._made.exception() else "<libkv.Watcher>"


class Iteration(Generic[_Item]):
    """Iterates over a source, and lets other tasks run regularly."""

    def __init__(self, source: Source[_Item] | RemoteSource[_Item], db: libkv.Db) -> None:
        self._source = source
        self._db = db
        self._taken = 0

    async def step(self) -> _Item:
        self._taken += 1
        if self._taken % STEPS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        try:
            item = await next_item(self._source, None)
        except (libkv.CancelledError, libkv.ClosedError):
            if self._db.closed:
                raise
            item = None
        if item is None:
            raise StopAsyncIteration
        return item
