"""libkv for asyncio and uvloop: the names of libkv, awaitable.

    async with libkv.aio.open("data") as db:
        await db.put("greeting", "hello")
        async for kv in db.scan(prefix="g"):
            print(kv.key)

Reads of a store in this process run on the loop's thread and do not wait. Writes go to the store's
queue; all writes that wait at one moment share a commit, and the loop is woken once for the
responses of a group. Watchers, leases, locks and elections wake the loop in the same way: each wait
is a future, and no call or handle needs a thread. Only open(), close(), check() and the changes of
users, roles and alarms run on a thread of the loop's executor, because they are rare and may take
long: hashing a password takes 50 ms.

On a cluster no call waits on the loop's thread either: get(), range(), writes, leases, locks and
elections are concurrent requests without a thread. The other reads, and the start of a watcher, run
on a thread of the loop's executor, as does a plain function given to transact().

open(), serve(), lease(), snapshot() and snapshot_at() create a handle: await the call, or enter it
directly with `async with`.

Several loops, in several threads, can use one Db. Cancelling an awaited write cancels the write if
no writer has begun it; otherwise the CancelledError has an UnknownOutcomeError as its cause.
Cancelling a wait for a lock or an election leaves its queue.
"""

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload
from weakref import WeakKeyDictionary, ref

import libkv
from libkv import _libkv
from libkv._types import (
    AlarmKind,
    BytesLike,
    DeleteOptions,
    KeyOptions,
    Op,
    OpenOptions,
    PermissionType,
    PutOptions,
    RangeOptions,
    ServeOptions,
    Target,
    TransactionPutOptions,
    TransactionRangeOptions,
    TxnOptions,
    WatchOptions,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Db",
    "Election",
    "Leaders",
    "Lease",
    "Lock",
    "Scan",
    "Server",
    "Snapshot",
    "Transaction",
    "Watcher",
    "open",
    "serve",
]

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Item_co = TypeVar("_Item_co", covariant=True)

_P = ParamSpec("_P")
_Handle = TypeVar("_Handle", bound="_AsyncHandle")

_ABSENT: Any = object()
"""The value of an argument that is left out."""

GRACE: Final = 0.6
"""Seconds after the time limit of a claim, in which its key is deleted."""

STEPS_IN_A_ROW: Final = 1024
"""After this number of steps an iteration lets other tasks run."""


class _AsyncHandle(Protocol):
    """A handle, as `async with` requires it."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...


class _PendingHandle(Coroutine[Any, Any, _Handle]):
    """A handle that is awaited, or entered directly.

    It is a coroutine, for tasks and asyncio.run().
    """

    __slots__ = ("_handle", "_make")

    def __init__(self, make: Coroutine[Any, Any, _Handle]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, _Handle]:
        return self._make.__await__()

    def send(self, value: Any, /) -> Any:
        return self._make.send(value)

    def throw(self, *exception: Any) -> Any:
        return self._make.throw(*exception)

    def close(self) -> None:
        self._make.close()

    async def __aenter__(self) -> _Handle:
        self._handle = await self._make
        return await self._handle.__aenter__()

    async def __aexit__(self, *exception: object) -> None:
        await self._handle.__aexit__(*exception)


def _handle_factory(make: Callable[_P, Coroutine[Any, Any, _Handle]]) -> Callable[_P, _PendingHandle[_Handle]]:
    """Lets the result of an async function be entered without an inner await."""

    @functools.wraps(make)
    def making(*args: _P.args, **kwargs: _P.kwargs) -> _PendingHandle[_Handle]:
        return _PendingHandle(make(*args, **kwargs))

    return making


@_handle_factory
async def open(target: Target, **options: Unpack[OpenOptions]) -> "Db":  # noqa: A001 - as libkv.open
    """Open a store; arguments and exceptions are those of libkv.open()."""
    return Db(await asyncio.to_thread(libkv.open, target, **options))


@_handle_factory
async def serve(db: "Db", address: str = "127.0.0.1:0", **options: Unpack[ServeOptions]) -> "Server":
    """Serve a store to etcd's clients; arguments and exceptions are those of libkv.serve()."""
    return Server(await asyncio.to_thread(libkv.serve, db._db, address, **options))


class Server:
    """An etcd server over a store; created by serve(). See libkv.Server.

    An asynchronous context manager that closes it.
    """

    def __init__(self, server: libkv.Server) -> None:
        self._server = server

    @property
    def address(self) -> str:
        """The address for clients: "http://127.0.0.1:41234", "unix:///path"."""
        return self._server.address

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._server.closed

    async def close(self) -> None:
        """Close the server; see libkv.Server.close(). The store stays open."""
        await asyncio.to_thread(self._server.close)

    async def __aenter__(self) -> Self:
        self._server.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._server).replace("libkv.Server", "libkv.aio.Server")


async def _run(db: libkv.Db, call: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """Run a call on the loop's thread, or, for a cluster, on a thread of the executor."""
    if db._is_remote:
        return await asyncio.to_thread(call, *args, **options)
    return call(*args, **options)


def _optional(argument: _T) -> tuple[_T, ...]:
    return () if argument is _ABSENT else (argument,)


class _ReadAhead(Protocol[_Item_co]):
    """A libkv.Scan, EventScan or DiffScan."""

    def __iter__(self) -> Iterator[_Item_co]: ...
    def _is_ready(self) -> bool: ...
    def _make_ready(self) -> None: ...


class Scan(Generic[_Item]):
    """An asynchronous iterator; created by scan(), events() and diff(). It ends after an error."""

    def __init__(self, steps: Callable[[], _ReadAhead[_Item]], db: libkv.Db) -> None:
        self._db = db
        self._taken = 0
        self._steps: _ReadAhead[_Item] | None = None
        self._begin = steps
        if not db._is_remote:
            self._steps = steps()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        self._taken += 1
        if self._taken % STEPS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        if self._steps is None:
            self._steps = await asyncio.to_thread(self._begin)
        if self._db._is_remote and not self._steps._is_ready():
            await asyncio.to_thread(self._steps._make_ready)
        for item in self._steps:
            return item
        raise StopAsyncIteration


class Snapshot:
    """The store at one revision; created by snapshot(). See libkv.Snapshot."""

    def __init__(self, snapshot: libkv.Snapshot, db: libkv.Db) -> None:
        self._snapshot = snapshot
        self._db = db

    @property
    def revision(self) -> int:
        """Its revision."""
        return self._snapshot.revision

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """Read one key at this revision, or None."""
        return await _run(self._db, self._snapshot.get, key)

    async def range(
        self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range at this revision; see libkv.Snapshot.range()."""
        return await _run(self._db, self._snapshot.range, *_optional(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range at this revision; see libkv.Snapshot.scan()."""
        scan = self._snapshot.scan(*_optional(key), **options)
        return Scan(lambda: scan, self._db)

    def close(self) -> None:
        """Close it; later calls raise ClosedError. Not required, because it holds no resource."""
        self._snapshot.close()

    async def __aenter__(self) -> Self:
        self._snapshot.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._snapshot.close()

    def __repr__(self) -> str:
        return f"<libkv.aio.Snapshot of revision {self.revision}>"


class Transaction:
    """The argument of the async function that transact() runs. See libkv.Transaction."""

    def __init__(self, transaction: libkv.Transaction, db: libkv.Db) -> None:
        self._transaction = transaction
        self._db = db

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """Read one key, or None; see libkv.Transaction.get()."""
        return await _run(self._db, self._transaction.get, key)

    async def range(
        self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[TransactionRangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range by key, with own writes; see libkv.Transaction.range()."""
        return await _run(self._db, self._transaction.range, *_optional(key), **options)

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[TransactionPutOptions]
    ) -> None:
        """Write a key at the commit; see libkv.Transaction.put()."""
        await _run(self._db, self._transaction.put, key, *_optional(value), **options)

    async def delete(self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[KeyOptions]) -> int:
        """Delete keys at the commit; return the number that this transaction sees."""
        return await _run(self._db, self._transaction.delete, *_optional(key), **options)


class _Source(Protocol[_Item_co]):
    """A source of items: a libkv.Watcher or libkv.Leaders."""

    def try_next(self) -> _Item_co | None: ...
    def _wait(self, mailbox: _libkv._Mailbox, future: asyncio.Future[None]) -> _libkv._Wait: ...


async def _next(source: "_Source[_T] | _RemoteSource[_T]", timeout: float | None) -> _T | None:
    """Wait for the next item; None after timeout (seconds)."""
    if isinstance(source, _RemoteSource):
        return await source.next(timeout)
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    while True:
        item = source.try_next()
        left = None if until is None else until - loop.time()
        if item is not None or (left is not None and left <= 0):
            return item
        await _wait(source, left)


async def _wait(source: _Source[Any], timeout: float | None) -> None:
    """Wait until there may be an item, at most timeout seconds."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    wait = source._wait(_mailbox(loop), future)
    try:
        await asyncio.wait([future], timeout=timeout)
    finally:
        wait.end()


class _RemoteSource(Generic[_Item]):
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
        return await _next(cast("_Source[_Item]", native), None if until is None else until - self._loop.time())

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


class _Iteration(Generic[_Item]):
    """Iterates over a source, and lets other tasks run regularly."""

    def __init__(self, source: _Source[_Item] | _RemoteSource[_Item], db: libkv.Db) -> None:
        self._source = source
        self._db = db
        self._taken = 0

    async def step(self) -> _Item:
        self._taken += 1
        if self._taken % STEPS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        try:
            item = await _next(self._source, None)
        except (libkv.CancelledError, libkv.ClosedError):
            if self._db.closed:
                raise
            item = None
        if item is None:
            raise StopAsyncIteration
        return item


class Watcher:
    """Watches a range; created by watch(). See libkv.Watcher.

    An asynchronous iterator of libkv.WatchBatch. One task at a time may read. An asynchronous
    context manager that closes it. If a cluster refuses the watch, the first step or `async with`
    raises the exception. `async with` waits until the cluster has confirmed the watcher, as do
    writes through the same Db.
    """

    def __init__(self, watcher: libkv.Watcher | _RemoteSource[libkv.WatchBatch], db: libkv.Db) -> None:
        self._watcher = watcher
        self._iteration = _Iteration(watcher, db)

    async def next(self, timeout: float | None = None) -> libkv.WatchBatch | None:
        """Wait for the next batch; None after timeout (seconds; None: no limit)."""
        return await _next(self._watcher, timeout)

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
        if isinstance(self._watcher, _RemoteSource):
            await self._watcher.confirmed()
        self._watcher.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._watcher).replace("libkv.Watcher", "libkv.aio.Watcher")


class Leaders:
    """The leaders of an election; created by Election.observe(). See libkv.Leaders.

    An asynchronous iterator of libkv.KeyValue; one task at a time may read. An asynchronous context
    manager that closes it.
    """

    def __init__(self, leaders: libkv.Leaders | _RemoteSource[libkv.KeyValue], db: libkv.Db) -> None:
        self._leaders = leaders
        self._iteration = _Iteration(leaders, db)

    async def next(self, timeout: float | None = None) -> libkv.KeyValue | None:
        """Wait for the next leader's pair; None after timeout (seconds; None: no limit)."""
        return await _next(self._leaders, timeout)

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
        if isinstance(self._leaders, _RemoteSource):
            await self._leaders.confirmed()
        self._leaders.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<libkv.aio.Leaders>"


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
        self._waits.append(self._lease._on_lost(_mailbox(loop), _LossFuture(self, number, loop)))

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
            await _revoke(lambda mailbox, future: self._db._submit(request, mailbox, future))

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


async def _wait_for_response(asked: _libkv._PendingResponse, future: asyncio.Future[None]) -> None:
    """Wait for a response.

    If cancelled, cancel the request, or revoke a lease that comes too late.
    """
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        if not asked.cancel():
            future.add_done_callback(lambda _: asked.abandon())
        raise


async def _revoke(submit: Callable[[_libkv._Mailbox, asyncio.Future[Any]], _libkv._Submission | None]) -> None:
    """Wait for a revocation; it is a success if the lease does not exist any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    if submit(_mailbox(loop), future) is not None:
        with contextlib.suppress(libkv.LeaseNotFoundError):
            await future


async def _acquire(
    claim: _libkv._Claim, value: BytesLike, timeout: float | None, db: "Db", *, only_if_free: bool = False
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
    claim.start(value, timeout, only_if_free, _mailbox(loop), future)
    try:
        for end in (None,) if limit is None else (limit, limit + GRACE):
            await asyncio.wait([future], timeout=None if end is None else end - loop.time())
            if future.done():
                break
            claim.time_out()
        return claim.finish()
    finally:
        claim.cancel()


class Lock:
    """A lock between all tasks and processes; created by lock(). See libkv.Lock.

    One holder at a time. An asynchronous context manager that acquires and releases it. Each task
    needs its own Lock.
    """

    def __init__(self, claim: _libkv._Claim, db: "Db") -> None:
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
            await _revoke(self._claim.leave)
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
    def revision(self) -> int:
        """The revision at which its key was created, for fencing; 0 while it is not held."""
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

    def __init__(self, claim: _libkv._Claim, db: "Db") -> None:
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
        return await _run(self._db._db, self._claim.leader)

    def observe(self) -> Leaders:
        """Iterate over the current leader, each new leader and each new value."""
        return Leaders(self._db._source(self._claim.observe, resume=0, reads_wait=True), self._db._db)

    async def resign(self) -> None:
        """Resign; does nothing if it does not lead."""
        self._claim.begin()
        try:
            await _revoke(self._claim.leave)
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
    def revision(self) -> int:
        """The revision at which its key was created, for fencing; 0 while it does not lead."""
        return self._claim.revision

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.resign()

    def __repr__(self) -> str:
        return f"<libkv.aio.Election {self._claim!r}, {'leads' if self.is_leader else 'does not lead'}>"


class Db:
    """An open store; see libkv.Db. Created by open(), or from an open libkv.Db.

    An asynchronous context manager that closes the store.
    """

    def __init__(self, db: libkv.Db) -> None:
        self._db = db
        self._opening: set[asyncio.Future[Any]] = set()

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[PutOptions]
    ) -> libkv.PutResponse:
        """Write one key; see libkv.Db.put()."""
        return cast("libkv.PutResponse", await self._write(libkv.Put(key, *_optional(value), **options)))

    async def get(self, key: BytesLike, *, revision: int = 0) -> libkv.KeyValue | None:
        """Read one key, now or at a revision; None if it does not exist. See libkv.Db.get()."""
        if self._db._is_remote:
            request = libkv.Range(key, revision=max(revision, 0))
            kvs = cast("libkv.RangeResponse", await self._submit(request)).kvs
            return kvs[0] if kvs else None
        return self._db.get(key, revision=revision) if revision else self._db.get(key)

    async def get_into(self, key: BytesLike, buffer: "Buffer") -> int | None:
        """Copy the value of one key into a writable buffer; see libkv.Db.get_into()."""
        return await _run(self._db, self._db.get_into, key, buffer)

    async def range(
        self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range at one revision; see libkv.Db.range()."""
        if self._db._is_remote:
            return cast("libkv.RangeResponse", await self._submit(libkv.Range(*_optional(key), **options)))
        return self._db.range(*_optional(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range, all at one revision; see libkv.Db.scan()."""
        scan = self._db.scan(*_optional(key), **options)
        return Scan(lambda: scan, self._db)

    async def delete(
        self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[DeleteOptions]
    ) -> libkv.DeleteResponse:
        """Delete keys; see libkv.Db.delete()."""
        return cast("libkv.DeleteResponse", await self._write(libkv.Delete(*_optional(key), **options)))

    async def txn(self, txn: libkv.Txn = _ABSENT, **options: Unpack[TxnOptions]) -> libkv.TxnResponse:
        """Compare, then run one of two lists of operations in one revision; see libkv.Db.txn()."""
        request = libkv.Txn(*_optional(txn), **options)
        if request._is_read_only() and not self._db._is_remote:
            return self._db.txn(request)
        return cast("libkv.TxnResponse", await self._write(request))

    @overload
    async def transact(
        self, fn: Callable[[Transaction], Coroutine[Any, Any, _T]], *, max_retries: int | None = 64
    ) -> _T: ...

    @overload
    async def transact(self, fn: Callable[[libkv.Transaction], _T], *, max_retries: int | None = 64) -> _T: ...

    async def transact(self, fn: Callable[[Any], Any], *, max_retries: int | None = 64) -> Any:
        """Run fn(t) until its reads are still valid at its commit; see libkv.Db.transact().

        If fn is async, t is a libkv.aio.Transaction, whose calls are awaited; otherwise a
        libkv.Transaction.
        """
        is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        retries = _libkv._Retries(max_retries)
        while True:
            t = self._db._transaction()
            try:
                result = await fn(Transaction(t, self._db)) if is_async else _plain(await _run(self._db, fn, t))
            except libkv.CompactedError:
                attempt = t._end()
                if not attempt.overtaken:
                    raise
            except BaseException:
                if self._db._is_remote:
                    # a call of it may still run on another thread
                    asyncio.get_running_loop().run_in_executor(None, t._end)
                else:
                    t._end()
                raise
            else:
                attempt = t._end()
                txn = attempt.txn()
                if txn is None or (await self.txn(txn)).succeeded:
                    return result
            await asyncio.sleep(retries.after(attempt))

    async def compact(self, revision: int, *, physical: bool = False) -> libkv.CompactResponse:
        """Delete the history below a revision; see libkv.Db.compact()."""
        await self._confirm_watchers()
        request = _libkv._Request.compact(revision, physical=physical)
        return cast("libkv.CompactResponse", await self._submit(request))

    @_handle_factory
    async def snapshot(self, revision: int = 0) -> Snapshot:
        """Return a Snapshot of one revision; 0 is the current one. See libkv.Db.snapshot()."""
        return Snapshot(await _run(self._db, self._db.snapshot, revision), self._db)

    @_handle_factory
    async def snapshot_at(self, revision: int) -> Snapshot:
        """The same as snapshot(revision)."""
        return Snapshot(await _run(self._db, self._db.snapshot_at, revision), self._db)

    async def history(self, key: BytesLike, *, limit: int = 0) -> list[libkv.Event]:
        """Return the events of one key, newest first; see libkv.Db.history()."""
        return await _run(self._db, self._db.history, key, limit=limit)

    def events(
        self, after: int, upto: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Event]:
        """Iterate over the events with after < revision <= upto; see libkv.Db.events()."""
        scan = self._db.events(after, upto, *_optional(key), **options)
        return Scan(lambda: scan, self._db)

    def diff(
        self, a: int, b: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Difference]:
        """Iterate over the keys that differ between two revisions; see libkv.Db.diff()."""
        return Scan(lambda: self._db.diff(a, b, *_optional(key), **options), self._db)

    async def revision_at(self, time: datetime | float) -> int:
        """Return the last revision written by the end of the minute of this time.

        See libkv.Db.revision_at().
        """
        return await _run(self._db, self._db.revision_at, time)

    def watch(self, key: BytesLike = _ABSENT, **options: Unpack[WatchOptions]) -> Watcher:
        """Watch the events of a range, written by any process; see libkv.Db.watch()."""
        watch = functools.partial(self._db.watch, *_optional(key), **options)
        return Watcher(self._source(watch, resume=options.get("start_revision", 0), reads_wait=False), self._db)

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> libkv.LeaseGrantResponse:
        """Grant a lease, which is not kept alive; see libkv.Db.lease_grant()."""
        await self._confirm_watchers()
        request = _libkv._Request.lease_grant(ttl_seconds, id=id)
        return cast("libkv.LeaseGrantResponse", await self._submit(request))

    async def lease_revoke(self, id: int) -> libkv.LeaseRevokeResponse:
        """Revoke a lease: its keys are deleted in one revision; see libkv.Db.lease_revoke()."""
        await self._confirm_watchers()
        request = _libkv._Request.lease_revoke(id)
        return cast("libkv.LeaseRevokeResponse", await self._submit(request))

    async def lease_keep_alive(self, id: int) -> libkv.LeaseKeepAliveResponse:
        """Renew a lease once; see libkv.Db.lease_keep_alive()."""
        return await _run(self._db, self._db.lease_keep_alive, id)

    async def lease_time_to_live(self, id: int, *, keys: bool = False) -> libkv.LeaseTimeToLiveResponse:
        """Return the remaining TTL of a lease, and its keys; see libkv.Db.lease_time_to_live()."""
        return await _run(self._db, self._db.lease_time_to_live, id, keys=keys)

    async def lease_list(self) -> list[int]:
        """Return the ids of all leases, the next to expire first."""
        return await _run(self._db, self._db.lease_list)

    @_handle_factory
    async def lease(self, ttl_seconds: int, *, end_with_process: bool = False) -> Lease:
        """Grant a lease that is kept alive until its handle is closed; see libkv.Db.lease()."""
        await self._confirm_watchers()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        pending = self._db._submit_lease(ttl_seconds, _mailbox(loop), future, end_with_process=end_with_process)
        await _wait_for_response(pending, future)
        return Lease(libkv.Lease._adopt(pending), self._db)

    def lock(self, name: BytesLike, ttl_seconds: int) -> Lock:
        """Return a Lock with this name, not acquired yet; see libkv.Db.lock()."""
        return Lock(self._db._claim(name, ttl_seconds), self)

    def election(self, name: BytesLike, ttl_seconds: int) -> Election:
        """Return an Election with this name, without a campaign. See libkv.Db.election()."""
        return Election(self._db._claim(name, ttl_seconds), self)

    async def alarm_list(self) -> list[libkv.AlarmMember]:
        """Return the active alarms, by kind and member; see libkv.Db.alarm_list()."""
        return await asyncio.to_thread(self._db.alarm_list)

    async def alarm_activate(self, kind: AlarmKind, *, member: int = 0) -> list[libkv.AlarmMember]:
        """Activate an alarm; see libkv.Db.alarm_activate()."""
        return await asyncio.to_thread(self._db.alarm_activate, kind, member=member)

    async def alarm_disarm(self, *, member: int = 0, kind: AlarmKind | None = None) -> list[libkv.AlarmMember]:
        """Disarm alarms; see libkv.Db.alarm_disarm()."""
        return await asyncio.to_thread(self._db.alarm_disarm, member=member, kind=kind)

    async def auth_enable(self) -> int:
        """Turn authentication on; see libkv.Db.auth_enable()."""
        return await asyncio.to_thread(self._db.auth_enable)

    async def auth_disable(self) -> int:
        """Turn authentication off; see libkv.Db.auth_disable()."""
        return await asyncio.to_thread(self._db.auth_disable)

    async def auth_status(self) -> libkv.AuthStatus:
        """Return whether authentication is on; see libkv.Db.auth_status()."""
        return await _run(self._db, self._db.auth_status)

    async def user_add(self, name: str, password: str | None = None, *, no_password: bool = False) -> int:
        """Create a user; see libkv.Db.user_add()."""
        return await asyncio.to_thread(self._db.user_add, name, password, no_password=no_password)

    async def user_get(self, name: str) -> list[str]:
        """Return the names of the roles of a user; see libkv.Db.user_get()."""
        return await _run(self._db, self._db.user_get, name)

    async def user_list(self) -> list[str]:
        """Return the names of all users, sorted."""
        return await _run(self._db, self._db.user_list)

    async def user_delete(self, name: str) -> int:
        """Remove a user; see libkv.Db.user_delete()."""
        return await asyncio.to_thread(self._db.user_delete, name)

    async def user_change_password(self, name: str, password: str) -> int:
        """Change the password of a user; see libkv.Db.user_change_password()."""
        return await asyncio.to_thread(self._db.user_change_password, name, password)

    async def user_grant_role(self, name: str, role: str) -> int:
        """Grant a role to a user; see libkv.Db.user_grant_role()."""
        return await asyncio.to_thread(self._db.user_grant_role, name, role)

    async def user_revoke_role(self, name: str, role: str) -> int:
        """Take a role from a user; see libkv.Db.user_revoke_role()."""
        return await asyncio.to_thread(self._db.user_revoke_role, name, role)

    async def role_add(self, role: str) -> int:
        """Create a role without permissions; see libkv.Db.role_add()."""
        return await asyncio.to_thread(self._db.role_add, role)

    async def role_get(self, role: str) -> list[libkv.Permission]:
        """Return the permissions of a role, by key; see libkv.Db.role_get()."""
        return await _run(self._db, self._db.role_get, role)

    async def role_list(self) -> list[str]:
        """Return the names of all roles, sorted; see libkv.Db.role_list()."""
        return await _run(self._db, self._db.role_list)

    async def role_delete(self, role: str) -> int:
        """Remove a role, also from its users; see libkv.Db.role_delete()."""
        return await asyncio.to_thread(self._db.role_delete, role)

    async def role_grant_permission(
        self,
        role: str,
        type: PermissionType | libkv.Permission,
        key: BytesLike = _ABSENT,
        **options: Unpack[KeyOptions],
    ) -> int:
        """Add a permission to a role; see libkv.Db.role_grant_permission()."""
        call = self._db.role_grant_permission
        return await asyncio.to_thread(call, role, type, *_optional(key), **options)

    async def role_revoke_permission(
        self, role: str, key: BytesLike | libkv.Permission = _ABSENT, **options: Unpack[KeyOptions]
    ) -> int:
        """Remove a permission from a role; see libkv.Db.role_revoke_permission()."""
        call = self._db.role_revoke_permission
        return await asyncio.to_thread(call, role, *_optional(key), **options)

    async def status(self) -> libkv.Status:
        """Return the status of the store; see libkv.Db.status()."""
        return await _run(self._db, self._db.status)

    async def check(self) -> libkv.CheckReport:
        """Read the whole store and verify every invariant; see libkv.Db.check()."""
        return await asyncio.to_thread(self._db.check)

    async def close(self) -> None:
        """Close the store: every later call raises ClosedError. A second close has no effect."""
        await asyncio.to_thread(self._db.close)

    @property
    def closed(self) -> bool:
        """Whether the store is closed, or was opened before a fork()."""
        return self._db.closed

    async def __aenter__(self) -> Self:
        self._db.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._db).replace("libkv.Db", "libkv.aio.Db")

    async def _write(self, request: Op) -> object:
        if self._opening:
            await self._confirm_watchers()
        return await self._submit(request)

    async def _submit(self, request: Op | _libkv._Request) -> object:
        return await _wait_for_write(lambda mailbox, future: self._db._submit(request, mailbox, future))

    def _source(self, make: Callable[[], Any], *, resume: int, reads_wait: bool) -> Any:
        """Create a watcher or leaders: in the call, or, on a cluster, on a thread."""
        return (
            _RemoteSource(make, self._opening, resume=resume, reads_wait=reads_wait) if self._db._is_remote else make()
        )

    async def _confirm_watchers(self) -> None:
        """Wait until the cluster has confirmed the watchers of this loop."""
        loop = asyncio.get_running_loop()
        while mine := [made for made in list(self._opening) if made.get_loop() is loop]:
            await asyncio.wait(mine)


def _plain(result: _T) -> _T:
    """Refuse a coroutine: fn is async, but was not recognised as such."""
    if inspect.iscoroutine(result):
        result.close()
        message = "fn is async but does not look so: pass the function itself or a functools.partial, not a lambda"
        raise TypeError(message)
    return result


_MAILBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, _libkv._Mailbox] = WeakKeyDictionary()
_NEW_LOOP = threading.Lock()


def _mailbox(loop: asyncio.AbstractEventLoop) -> _libkv._Mailbox:
    """The mailbox of this loop; created at its first write, deleted with the loop."""
    mailbox = _MAILBOXES.get(loop)
    if mailbox is None:
        mailbox = _libkv._Mailbox()
        loop.add_reader(mailbox.fileno(), mailbox.resolve)
        with _NEW_LOOP:
            # a closed loop does not take its results any more
            for other in list(_MAILBOXES):
                if other.is_closed():
                    del _MAILBOXES[other]
            _MAILBOXES[loop] = mailbox
    return mailbox


async def _wait_for_write(
    submit: Callable[[_libkv._Mailbox, asyncio.Future[Any]], _libkv._Submission],
) -> object:
    """Submit a write and wait for its response.

    If cancelled, cancel the write or raise that it was too late.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    submitted = submit(_mailbox(loop), future)
    try:
        return await future
    except asyncio.CancelledError as cancelled:
        if submitted.cancel() or _refused(future):
            raise
        message = "cancelled after the commit began: the write may or may not be there (read the key)"
        raise cancelled from libkv.UnknownOutcomeError(message)


def _refused(future: asyncio.Future[object]) -> bool:
    """Whether the response came with the cancellation, and means that nothing was written."""
    error = future.exception() if future.done() and not future.cancelled() else None
    return error is not None and not isinstance(error, libkv.UnknownOutcomeError)
