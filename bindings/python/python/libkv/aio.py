"""libkv for asyncio and uvloop: the names of libkv, awaitable.

    async with libkv.aio.open("data") as db:
        await db.put("greeting", "hello")
        async for kv in db.scan(prefix="g"):
            print(kv.key)

Reads of a store in this process run at once, on the loop's thread: they wait for nobody. Writes go to the
store's own queue, where all that wait at that moment share a commit, and the loop is woken once for the answers
of a whole group.
Watchers, leases, locks and elections wake the loop in the same way: a thousand that wait are a thousand
futures. There is no thread for a call or for a handle. Only open(), close() and check() borrow one from the loop's
executor: they are rare, they may take a while (another process's lock, a sweep that ends, the whole store
to read), and the store has no queue for them.

On a cluster nothing waits on the loop's thread either: get(), range(), writes, leases, locks and elections are
requests under way together, without a thread; the other reads, and the beginning of a watcher, borrow one from the
loop's executor. A plain function given to transact() runs on such a thread too.

open(), serve(), lease(), snapshot() and snapshot_at() make a handle: await the call, or enter it at once with
`async with`.

A Db may be used from several loops, in several threads, at once. Cancelling an awaited write takes it back
if no writer has begun it; otherwise the CancelledError has an UnknownOutcomeError as its cause. Cancelling
a task that waits for a lock or campaigns deletes its key.
"""

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import datetime
from types import TracebackType
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
_Handle = TypeVar("_Handle", bound="_Entered")

_ABSENT: Any = object()
"""Stands for an argument that was left out."""

GRACE: Final = 0.6
"""Seconds after the time limit of a claim, in which its key is deleted."""

STEPS_IN_A_ROW: Final = 1024
"""After so many steps an iteration lets the loop do something else."""


class _Entered(Protocol):
    """What `async with` takes: a handle."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class _Making(Coroutine[Any, Any, _Handle]):
    """A handle in the making: awaited, or entered at once. Still a coroutine, for tasks and asyncio.run()."""

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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._handle.__aexit__(kind, exception, traceback)


def _entered(make: Callable[_P, Coroutine[Any, Any, _Handle]]) -> Callable[_P, _Making[_Handle]]:
    """Lets what an async function returns be entered without an inner await."""

    @functools.wraps(make)
    def making(*args: _P.args, **kwargs: _P.kwargs) -> _Making[_Handle]:
        return _Making(make(*args, **kwargs))

    return making


@_entered
async def open(target: Target, **options: Unpack[OpenOptions]) -> "Db":  # noqa: A001 - as libkv.open
    """Open a store; arguments and exceptions are those of libkv.open()."""
    return Db(await asyncio.to_thread(libkv.open, target, **options))


@_entered
async def serve(db: "Db", address: str = "127.0.0.1:0", **options: Unpack[ServeOptions]) -> "Server":
    """Serve a store to etcd's clients; arguments and exceptions are those of libkv.serve()."""
    return Server(await asyncio.to_thread(libkv.serve, db._db, address, **options))


class Server:
    """A store that is served to etcd's clients; made by serve(). See libkv.Server.

    An asynchronous context manager that closes it.
    """

    def __init__(self, server: libkv.Server) -> None:
        self._server = server

    @property
    def address(self) -> str:
        """Where it listens, as clients take it: "http://127.0.0.1:41234", "unix:///path"."""
        return self._server.address

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._server.closed

    async def close(self) -> None:
        """End it: requests under way get their answers if that is quick, streams are cut. The store stays open."""
        await asyncio.to_thread(self._server.close)

    async def __aenter__(self) -> Self:
        self._server.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._server).replace("libkv.Server", "libkv.aio.Server")


async def _done(db: libkv.Db, call: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """What a store in this process answers at once, and a cluster is waited for on a thread of the executor."""
    if db._is_remote:
        return await asyncio.to_thread(call, *args, **options)
    return call(*args, **options)


def _given(argument: _T) -> tuple[_T, ...]:
    return () if argument is _ABSENT else (argument,)


class _Steps(Protocol[_Item_co]):
    """What a libkv.Scan, EventScan or DiffScan has."""

    def __iter__(self) -> Iterator[_Item_co]: ...
    def _is_near(self) -> bool: ...
    def _come_near(self) -> None: ...


class Scan(Generic[_Item]):
    """An asynchronous iterator; made by scan(), events() and diff(). After an error it is at its end."""

    def __init__(self, steps: Callable[[], _Steps[_Item]], db: libkv.Db) -> None:
        self._db = db
        self._taken = 0
        self._steps: _Steps[_Item] | None = None
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
        if self._db._is_remote and not self._steps._is_near():
            await asyncio.to_thread(self._steps._come_near)
        for item in self._steps:
            return item
        raise StopAsyncIteration


class Snapshot:
    """The store as it was at one revision; made by snapshot(). See libkv.Snapshot."""

    def __init__(self, snapshot: libkv.Snapshot, db: libkv.Db) -> None:
        self._snapshot = snapshot
        self._db = db

    @property
    def revision(self) -> int:
        """The revision that this is a view of."""
        return self._snapshot.revision

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """One key as it was, or None."""
        return await _done(self._db, self._snapshot.get, key)

    async def range(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> libkv.RangeResponse:
        """The pairs of a range as they were; see libkv.Snapshot.range()."""
        return await _done(self._db, self._snapshot.range, *_given(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range as they were; see libkv.Snapshot.scan()."""
        scan = self._snapshot.scan(*_given(key), **options)
        return Scan(lambda: scan, self._db)

    def close(self) -> None:
        """End the view; later calls raise ClosedError. It holds nothing, so this may be left out."""
        self._snapshot.close()

    async def __aenter__(self) -> Self:
        self._snapshot.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._snapshot.close()

    def __repr__(self) -> str:
        return f"<libkv.aio.Snapshot of revision {self.revision}>"


class Transaction:
    """What the async function given to transact() reads and writes through. See libkv.Transaction."""

    def __init__(self, transaction: libkv.Transaction, db: libkv.Db) -> None:
        self._transaction = transaction
        self._db = db

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """One key, or None; see libkv.Transaction.get()."""
        return await _done(self._db, self._transaction.get, key)

    async def range(
        self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[TransactionRangeOptions]
    ) -> libkv.RangeResponse:
        """The pairs of a range by key, own writes in place; see libkv.Transaction.range()."""
        return await _done(self._db, self._transaction.range, *_given(key), **options)

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[TransactionPutOptions]
    ) -> None:
        """Write a key when the function returns; see libkv.Transaction.put()."""
        await _done(self._db, self._transaction.put, key, *_given(value), **options)

    async def delete(self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[KeyOptions]) -> int:
        """Delete keys when the function returns; how many this transaction sees."""
        return await _done(self._db, self._transaction.delete, *_given(key), **options)


class _Source(Protocol[_Item_co]):
    """What has items now and then: a libkv.Watcher or libkv.Leaders."""

    def try_next(self) -> _Item_co | None: ...
    def _wait(self, answers: _libkv._Answers, future: asyncio.Future[None]) -> _libkv._Wait: ...


async def _next(source: "_Source[_T] | _Remote[_T]", timeout: float | None) -> _T | None:
    """The next item; None if timeout (seconds) has passed without one."""
    if isinstance(source, _Remote):
        return await source.next(timeout)
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    while True:
        item = source.try_next()
        left = None if until is None else until - loop.time()
        if item is not None or (left is not None and left <= 0):
            return item
        await _woken(source, left)


async def _woken(source: _Source[Any], timeout: float | None) -> None:
    """Wait until there may be something, timeout seconds at most."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    wait = source._wait(_answers(loop), future)
    try:
        await asyncio.wait([future], timeout=timeout)
    finally:
        wait.end()


class _Remote(Generic[_Item]):
    """A watcher, or leaders, of a cluster: made on a thread, since it is there only once the cluster says so.

    With is_far each look at what there is asks the cluster too.
    """

    def __init__(
        self, make: Callable[[], Any], opening: set["asyncio.Future[Any]"], *, resume: int, is_far: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._resume = resume
        self._is_far = is_far
        self._looking: asyncio.Future[_Item | None] | None = None
        self._how: str | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._made: asyncio.Future[Any] = self._loop.run_in_executor(None, make)
        opening.add(self._made)
        self._made.add_done_callback(opening.discard)
        self._made.add_done_callback(lambda _: self._settle())

    def _settle(self) -> None:
        """What was ended before it was there ends now; who waits for it is told."""
        refused = self._made.done() and (self._made.cancelled() or self._made.exception() is not None)
        if self._how is None:
            return
        if not self._over.done():
            self._over.set_result(None)
        if self._made.done() and not refused:
            getattr(self._made.result(), self._how)()

    def _there(self) -> Any:
        """The native one, or None while it is not there."""
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
        while self._is_far:
            # what is cancelled here is looked at by whoever comes next
            self._looking = self._looking or self._loop.run_in_executor(None, native.try_next)
            left = None if until is None else max(until - self._loop.time(), 0)
            # with no time to wait for others, what must be asked is asked all the same
            await asyncio.wait([self._looking], timeout=left if timeout else None)
            if not self._looking.done():
                return None
            looked, self._looking = self._looking, None
            item = looked.result()
            left = None if until is None else until - self._loop.time()
            if item is not None or (left is not None and left <= 0):
                return item
            await _woken(native, left)
        return await _next(cast("_Source[_Item]", native), None if until is None else until - self._loop.time())

    def try_next(self) -> _Item | None:
        if self._is_far:
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
    """Steps through a source, and lets the loop do something else now and then."""

    def __init__(self, source: _Source[_Item] | _Remote[_Item], db: libkv.Db) -> None:
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
    """Follows a range; made by watch(). An asynchronous iterator of libkv.WatchBatch; see libkv.Watcher.

    One task reads at a time. An asynchronous context manager that closes it. On a cluster what watch() may be
    refused with is raised by the first step, or by `async with`, which waits until the watcher is there; writes
    through the same Db wait for that too.
    """

    def __init__(self, watcher: libkv.Watcher | _Remote[libkv.WatchBatch], db: libkv.Db) -> None:
        self._watcher = watcher
        self._iteration = _Iteration(watcher, db)

    async def next(self, timeout: float | None = None) -> libkv.WatchBatch | None:
        """The next batch; None if timeout (seconds; None: for ever) has passed without one."""
        return await _next(self._watcher, timeout)

    def try_next(self) -> libkv.WatchBatch | None:
        """The next batch if there is one now, else None."""
        return self._watcher.try_next()

    def cancel(self) -> None:
        """End it, from any thread: who waits in it gets libkv.CancelledError, an iteration ends."""
        self._watcher.cancel()

    def close(self) -> None:
        """End it, from any thread: every later call raises ClosedError. Closing twice is fine."""
        self._watcher.close()

    @property
    def resume_revision(self) -> int:
        """The revision to start from the next time; see libkv.Watcher."""
        return self._watcher.resume_revision

    def fileno(self) -> int:
        """A descriptor that polls as readable while try_next() may have something; awaiting does not need it."""
        return self._watcher.fileno()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> libkv.WatchBatch:
        return await self._iteration.step()

    async def __aenter__(self) -> Self:
        if isinstance(self._watcher, _Remote):
            await self._watcher.confirmed()
        self._watcher.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._watcher).replace("libkv.Watcher", "libkv.aio.Watcher")


class Leaders:
    """The leaders of an election, one after the other; made by Election.observe(). See libkv.Leaders.

    An asynchronous iterator of libkv.KeyValue; one task reads at a time. An asynchronous context manager that closes
    it.
    """

    def __init__(self, leaders: libkv.Leaders | _Remote[libkv.KeyValue], db: libkv.Db) -> None:
        self._leaders = leaders
        self._iteration = _Iteration(leaders, db)

    async def next(self, timeout: float | None = None) -> libkv.KeyValue | None:
        """The next leader's pair; None if timeout (seconds; None: for ever) has passed without one."""
        return await _next(self._leaders, timeout)

    def try_next(self) -> libkv.KeyValue | None:
        """The next leader's pair if there is one now, else None."""
        return self._leaders.try_next()

    def close(self) -> None:
        """End it, from any thread: every later call raises ClosedError. Closing twice is fine."""
        self._leaders.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> libkv.KeyValue:
        return await self._iteration.step()

    async def __aenter__(self) -> Self:
        if isinstance(self._leaders, _Remote):
            await self._leaders.confirmed()
        self._leaders.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<libkv.aio.Leaders>"


class Lease:
    """A lease that keeps itself alive; made by lease(). See libkv.Lease.

    An asynchronous context manager that closes it.
    """

    def __init__(self, lease: libkv.Lease, db: libkv.Db) -> None:
        self._lease = lease
        self._db = db
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._waits: list[_libkv._Wait] = []

    @property
    def id(self) -> int:
        """Its id, to put keys on it."""
        return self._lease.id

    @property
    def ttl_seconds(self) -> int:
        """The TTL that it was granted."""
        return self._lease.ttl_seconds

    @property
    def remaining(self) -> int:
        """Whole seconds that it would live on if its process died now; 0 if it is gone.

        Of a cluster's lease that would wait: UnsupportedError, and lease_time_to_live(id) says it.
        """
        if self._db._is_remote:
            message = "remaining does not wait, and this is a cluster: await lease_time_to_live(id) instead"
            raise libkv.UnsupportedError(message)
        return self._lease.remaining

    @property
    def lost(self) -> bool:
        """Whether it is known to be gone, though nobody closed this handle."""
        return self._lease.lost

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call callback() on the running loop when the lease is lost, or soon if it is; never once it is closed.

        That it is lost shows at the next keep-alive, after a third of the TTL at most.
        """
        if not callable(callback):
            message = f"callback must be a function without arguments, not {type(callback).__name__}"
            raise TypeError(message)
        number = len(self._waits)
        loop = asyncio.get_running_loop()
        self._callbacks[number] = callback
        self._waits.append(self._lease._on_lost(_answers(loop), _Lost(self, number, loop)))

    def _tell(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        callback = self._callbacks.pop(number, None)
        if callback is not None:
            loop.call_soon(callback)

    async def close(self) -> None:
        """Stop keeping it alive and revoke it: its keys go. Closing twice is fine; see libkv.Lease.close()."""
        for wait in self._waits:
            wait.end()
        self._callbacks.clear()
        if self._lease._stop():
            await _revoked(lambda answers, future: self._db._submit_revoke(self.id, answers, future))

    async def __aenter__(self) -> Self:
        self._lease.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._lease).replace("libkv.Lease", "libkv.aio.Lease")


class _Lost:
    """Stands among the futures of a loop for a callback of a lease, and does not keep the lease."""

    def __init__(self, lease: Lease, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._lease = ref(lease)
        self._number = number
        self._loop = ref(loop)

    def done(self) -> bool:
        return False

    def set_result(self, _: None) -> None:
        lease, loop = self._lease(), self._loop()
        if lease is not None and loop is not None:
            lease._tell(self._number, loop)


async def _asked(asked: _libkv._Asked, future: asyncio.Future[None]) -> None:
    """Wait for an answer; if cancelled, take the request back, or give back a lease that comes too late."""
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        if not asked.cancel():
            future.add_done_callback(lambda _: asked.abandon())
        raise


async def _revoked(submit: Callable[[_libkv._Answers, asyncio.Future[Any]], _libkv._Submitted | None]) -> None:
    """Wait for a revocation; a lease that is gone is well."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    if submit(_answers(loop), future) is not None:
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
            await db._opened()
    future: asyncio.Future[None] = loop.create_future()
    claim.start(value, timeout, only_if_free, _answers(loop), future)
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
    """A lock between all tasks and processes: one holds it at a time. Made by lock(). See libkv.Lock.

    An asynchronous context manager that acquires and releases it. Each task needs a Lock of its own.
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
            await _revoked(self._claim.leave)
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.release()

    def __repr__(self) -> str:
        return f"<libkv.aio.Lock {self._claim!r}, {'held' if self.is_held else 'not held'}>"


class Election:
    """An election: one leader among all candidates for a name. Made by election(). See libkv.Election.

    An asynchronous context manager that resigns.
    """

    def __init__(self, claim: _libkv._Claim, db: "Db") -> None:
        self._claim = claim
        self._db = db

    async def campaign(self, value: BytesLike, timeout: float | None = None) -> None:
        """Wait until it leads, at most timeout seconds, and proclaim value; see libkv.Election.campaign().

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
        return await _done(self._db._db, self._claim.leader)

    def observe(self) -> Leaders:
        """Iterate over the current leader, each new leader and each new value."""
        return Leaders(self._db._followed(self._claim.observe, resume=0, is_far=True), self._db._db)

    async def resign(self) -> None:
        """Resign; does nothing if it does not lead."""
        self._claim.begin()
        try:
            await _revoked(self._claim.leave)
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.resign()

    def __repr__(self) -> str:
        return f"<libkv.aio.Election {self._claim!r}, {'leads' if self.is_leader else 'does not lead'}>"


class Db:
    """A store, open; see libkv.Db. Made by open(), or over a libkv.Db that is open already.

    An asynchronous context manager that closes the store.
    """

    def __init__(self, db: libkv.Db) -> None:
        self._db = db
        self._opening: set[asyncio.Future[Any]] = set()

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[PutOptions]
    ) -> libkv.PutResponse:
        """Write one key; see libkv.Db.put()."""
        return cast("libkv.PutResponse", await self._write(libkv.Put(key, *_given(value), **options)))

    async def get(self, key: BytesLike, *, revision: int = 0) -> libkv.KeyValue | None:
        """One key as it is now, or at a revision; None if it is not there."""
        if self._db._is_remote:
            request = libkv.Range(key, revision=max(revision, 0))
            kvs = cast("libkv.RangeResponse", await self._submit(request)).kvs
            return kvs[0] if kvs else None
        return self._db.get(key, revision=revision) if revision else self._db.get(key)

    async def get_into(self, key: BytesLike, buffer: "Buffer") -> int | None:
        """The value of one key into a writable buffer; see libkv.Db.get_into()."""
        return await _done(self._db, self._db.get_into, key, buffer)

    async def range(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> libkv.RangeResponse:
        """The pairs of a range at one revision; see libkv.Db.range()."""
        if self._db._is_remote:
            return cast("libkv.RangeResponse", await self._submit(libkv.Range(*_given(key), **options)))
        return self._db.range(*_given(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range, all at one revision; see libkv.Db.scan()."""
        scan = self._db.scan(*_given(key), **options)
        return Scan(lambda: scan, self._db)

    async def delete(
        self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[DeleteOptions]
    ) -> libkv.DeleteResponse:
        """Delete keys; see libkv.Db.delete()."""
        return cast("libkv.DeleteResponse", await self._write(libkv.Delete(*_given(key), **options)))

    async def txn(self, txn: libkv.Txn = _ABSENT, **options: Unpack[TxnOptions]) -> libkv.TxnResponse:
        """Compare, then run one of two lists of operations in one revision; see libkv.Db.txn()."""
        request = libkv.Txn(*_given(txn), **options)
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
        """Run fn(t) until what it read is still true at its commit; see libkv.Db.transact().

        If fn is async, t is a libkv.aio.Transaction, whose calls are awaited; else a libkv.Transaction.
        """
        is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        retries = _libkv._Retries(max_retries)
        while True:
            t = self._db._transaction()
            try:
                result = await fn(Transaction(t, self._db)) if is_async else _plain(await _done(self._db, fn, t))
            except libkv.CompactedError:
                ended = t._end()
                if not ended.overtaken:
                    raise
            except BaseException:
                if self._db._is_remote:
                    # a thread may be in the middle of a call of it
                    asyncio.get_running_loop().run_in_executor(None, t._end)
                else:
                    t._end()
                raise
            else:
                ended = t._end()
                txn = ended.txn()
                if txn is None or (await self.txn(txn)).succeeded:
                    return result
            await asyncio.sleep(retries.after(ended))

    async def compact(self, revision: int, *, physical: bool = False) -> libkv.CompactResponse:
        """Forget history below a revision; see libkv.Db.compact()."""

        def submit(answers: _libkv._Answers, future: asyncio.Future[Any]) -> _libkv._Submitted:
            return self._db._submit_compact(revision, physical, answers, future)

        await self._opened()
        return cast("libkv.CompactResponse", await _answer(submit))

    @_entered
    async def snapshot(self, revision: int = 0) -> Snapshot:
        """A view of one revision, 0 being the current one; see libkv.Db.snapshot()."""
        return Snapshot(await _done(self._db, self._db.snapshot, revision), self._db)

    @_entered
    async def snapshot_at(self, revision: int) -> Snapshot:
        """As snapshot(revision)."""
        return Snapshot(await _done(self._db, self._db.snapshot_at, revision), self._db)

    async def history(self, key: BytesLike, *, limit: int = 0) -> list[libkv.Event]:
        """The events of one key, newest first; see libkv.Db.history()."""
        return await _done(self._db, self._db.history, key, limit=limit)

    def events(
        self, after: int, upto: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Event]:
        """Iterate over the events with after < revision <= upto; see libkv.Db.events()."""
        scan = self._db.events(after, upto, *_given(key), **options)
        return Scan(lambda: scan, self._db)

    def diff(self, a: int, b: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]) -> Scan[libkv.Difference]:
        """Iterate over the keys that differ between two revisions; see libkv.Db.diff()."""
        return Scan(lambda: self._db.diff(a, b, *_given(key), **options), self._db)

    async def revision_at(self, time: datetime | float) -> int:
        """The last revision that was written by the end of the minute of this time; see libkv.Db.revision_at()."""
        return await _done(self._db, self._db.revision_at, time)

    def watch(self, key: BytesLike = _ABSENT, **options: Unpack[WatchOptions]) -> Watcher:
        """Follow the events of a range, by whichever process they are written; see libkv.Db.watch()."""
        watch = functools.partial(self._db.watch, *_given(key), **options)
        return Watcher(self._followed(watch, resume=options.get("start_revision", 0), is_far=False), self._db)

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> libkv.LeaseGrantResponse:
        """Grant a lease, which nobody keeps alive; see libkv.Db.lease_grant()."""

        def submit(answers: _libkv._Answers, future: asyncio.Future[Any]) -> _libkv._Submitted:
            return self._db._submit_grant(ttl_seconds, answers, future, id=id)

        await self._opened()
        return cast("libkv.LeaseGrantResponse", await _answer(submit))

    async def lease_revoke(self, id: int) -> libkv.LeaseRevokeResponse:
        """Revoke a lease: its keys are deleted in one revision; see libkv.Db.lease_revoke()."""

        def submit(answers: _libkv._Answers, future: asyncio.Future[Any]) -> _libkv._Submitted:
            return self._db._submit_revoke(id, answers, future)

        await self._opened()
        return cast("libkv.LeaseRevokeResponse", await _answer(submit))

    async def lease_keep_alive(self, id: int) -> libkv.LeaseKeepAliveResponse:
        """Give a lease its full TTL again, once; see libkv.Db.lease_keep_alive()."""
        return await _done(self._db, self._db.lease_keep_alive, id)

    async def lease_time_to_live(self, id: int, *, keys: bool = False) -> libkv.LeaseTimeToLiveResponse:
        """What is left of a lease, and which keys hang on it; see libkv.Db.lease_time_to_live()."""
        return await _done(self._db, self._db.lease_time_to_live, id, keys=keys)

    async def lease_list(self) -> list[int]:
        """The ids of all leases, the next to expire first."""
        return await _done(self._db, self._db.lease_list)

    @_entered
    async def lease(self, ttl_seconds: int, *, end_with_process: bool = False) -> Lease:
        """A lease that keeps itself alive, and is revoked when its handle is closed; see libkv.Db.lease()."""
        await self._opened()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        asked = self._db._ask_lease(ttl_seconds, _answers(loop), future, end_with_process=end_with_process)
        await _asked(asked, future)
        return Lease(asked.lease(), self._db)

    def lock(self, name: BytesLike, ttl_seconds: int) -> Lock:
        """A lock by this name, not yet acquired; see libkv.Db.lock()."""
        return Lock(self._db._claim(name, ttl_seconds), self)

    def election(self, name: BytesLike, ttl_seconds: int) -> Election:
        """An election by this name; nobody campaigns yet. See libkv.Db.election()."""
        return Election(self._db._claim(name, ttl_seconds), self)

    async def alarm_list(self) -> list[libkv.AlarmMember]:
        """The alarms that are active, by kind and member."""
        return await asyncio.to_thread(self._db.alarm_list)

    async def alarm_activate(self, kind: AlarmKind, *, member: int = 0) -> list[libkv.AlarmMember]:
        """Raise an alarm; see libkv.Db.alarm_activate()."""
        return await asyncio.to_thread(self._db.alarm_activate, kind, member=member)

    async def alarm_disarm(self, *, member: int = 0, kind: AlarmKind | None = None) -> list[libkv.AlarmMember]:
        """End alarms; see libkv.Db.alarm_disarm()."""
        return await asyncio.to_thread(self._db.alarm_disarm, member=member, kind=kind)

    async def status(self) -> libkv.Status:
        """What the store says of itself."""
        return await _done(self._db, self._db.status)

    async def check(self) -> libkv.CheckReport:
        """Read the whole store and verify every invariant; see libkv.Db.check()."""
        return await asyncio.to_thread(self._db.check)

    async def close(self) -> None:
        """Close the store: every later call raises ClosedError. Closing twice is fine."""
        await asyncio.to_thread(self._db.close)

    @property
    def closed(self) -> bool:
        """Whether the store was closed, or opened before a fork()."""
        return self._db.closed

    async def __aenter__(self) -> Self:
        self._db.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._db).replace("libkv.Db", "libkv.aio.Db")

    async def _write(self, request: Op) -> object:
        if self._opening:
            await self._opened()
        return await self._submit(request)

    async def _submit(self, request: Op) -> object:
        return await _answer(lambda answers, future: self._db._submit(request, answers, future))

    def _followed(self, make: Callable[[], Any], *, resume: int, is_far: bool) -> Any:
        """A watcher or leaders, made at once, or, on a cluster, once that is done."""
        return _Remote(make, self._opening, resume=resume, is_far=is_far) if self._db._is_remote else make()

    async def _opened(self) -> None:
        """Wait for the cluster's word on the watchers that this loop began: they are to see what is written next."""
        loop = asyncio.get_running_loop()
        while mine := [made for made in list(self._opening) if made.get_loop() is loop]:
            await asyncio.wait(mine)


def _plain(result: _T) -> _T:
    """Refuse the coroutine of an async function that did not look like one."""
    if inspect.iscoroutine(result):
        result.close()
        message = "fn is async but does not look so: pass the function itself or a functools.partial, not a lambda"
        raise TypeError(message)
    return result


_ANSWERS: WeakKeyDictionary[asyncio.AbstractEventLoop, _libkv._Answers] = WeakKeyDictionary()
_NEW_LOOP = threading.Lock()


def _answers(loop: asyncio.AbstractEventLoop) -> _libkv._Answers:
    """What this loop is woken by; made at its first write, gone with it."""
    answers = _ANSWERS.get(loop)
    if answers is None:
        answers = _libkv._Answers()
        loop.add_reader(answers.fileno(), answers.resolve)
        with _NEW_LOOP:
            # what a closed loop still waits for will never be asked for
            for other in list(_ANSWERS):
                if other.is_closed():
                    del _ANSWERS[other]
            _ANSWERS[loop] = answers
    return answers


async def _answer(
    submit: Callable[[_libkv._Answers, asyncio.Future[Any]], _libkv._Submitted],
) -> object:
    """Submit a write and wait for its answer; if cancelled, take it back or say that it was too late."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    submitted = submit(_answers(loop), future)
    try:
        return await future
    except asyncio.CancelledError as cancelled:
        if submitted.cancel() or _refused(future):
            raise
        message = "cancelled after the commit began: the write may or may not be there (read the key)"
        raise cancelled from libkv.UnknownOutcomeError(message)


def _refused(future: asyncio.Future[object]) -> bool:
    """Whether the answer came with the cancellation, and says that nothing was written."""
    error = future.exception() if future.done() and not future.cancelled() else None
    return error is not None and not isinstance(error, libkv.UnknownOutcomeError)
