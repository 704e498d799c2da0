"""libkv for asyncio and uvloop: the names of libkv, awaitable.

    async with await libkv.aio.open("data") as db:
        await db.put("greeting", "hello")
        async for kv in db.scan(prefix="g"):
            print(kv.key)

Reads run at once, on the loop's thread: they wait for nobody. Writes go to the store's own queue, where
all that wait at that moment share a commit, and the loop is woken once for the answers of a whole group.
There is no thread for a call or for a handle. Only open(), close() and check() borrow one from the loop's
executor: they are rare, they may take a while (another process's lock, a sweep that ends, the whole store
to read), and the store has no queue for them.

A Db may be used from several loops, in several threads, at once. Cancelling an awaited write takes it back
if no writer has begun it; otherwise the CancelledError has an UnknownOutcomeError as its cause.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, Unpack, cast, overload
from weakref import WeakKeyDictionary

import libkv
from libkv import _libkv
from libkv._types import (
    BytesLike,
    DeleteOptions,
    KeyOptions,
    Op,
    OpenOptions,
    PutOptions,
    RangeOptions,
    Target,
    TransactionPutOptions,
    TransactionRangeOptions,
    TxnOptions,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Db", "Scan", "Snapshot", "Transaction", "open"]

_T = TypeVar("_T")
_Item = TypeVar("_Item")

_ABSENT: Any = object()
"""Stands for an argument that was left out."""

STEPS_IN_A_ROW: Final = 1024
"""After so many steps an iteration lets the loop do something else."""


async def open(target: Target, **options: Unpack[OpenOptions]) -> "Db":  # noqa: A001 - as libkv.open
    """Open a store; arguments and exceptions are those of libkv.open()."""
    return Db(await asyncio.to_thread(libkv.open, target, **options))


def _given(argument: _T) -> tuple[_T, ...]:
    return () if argument is _ABSENT else (argument,)


class Scan(Generic[_Item]):
    """An asynchronous iterator; made by scan(), changes() and diff(). After an error it is at its end."""

    def __init__(self, steps: Iterator[_Item]) -> None:
        self._steps = steps
        self._taken = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        self._taken += 1
        if self._taken % STEPS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        for item in self._steps:
            return item
        raise StopAsyncIteration


class Snapshot:
    """The store as it was at one revision; made by snapshot(). See libkv.Snapshot."""

    def __init__(self, snapshot: libkv.Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def revision(self) -> int:
        """The revision that this is a view of."""
        return self._snapshot.revision

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """One key as it was, or None."""
        return self._snapshot.get(key)

    async def range(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> libkv.RangeResult:
        """The pairs of a range as they were; see libkv.Snapshot.range()."""
        return self._snapshot.range(*_given(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range as they were; see libkv.Snapshot.scan()."""
        return Scan(self._snapshot.scan(*_given(key), **options))

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

    def __init__(self, transaction: libkv.Transaction) -> None:
        self._transaction = transaction

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """One key, or None; see libkv.Transaction.get()."""
        return self._transaction.get(key)

    async def range(
        self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[TransactionRangeOptions]
    ) -> libkv.RangeResult:
        """The pairs of a range by key, own writes in place; see libkv.Transaction.range()."""
        return self._transaction.range(*_given(key), **options)

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[TransactionPutOptions]
    ) -> None:
        """Write a key when the function returns; see libkv.Transaction.put()."""
        self._transaction.put(key, *_given(value), **options)

    async def delete(self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[KeyOptions]) -> int:
        """Delete keys when the function returns; how many this transaction sees."""
        return self._transaction.delete(*_given(key), **options)


class Db:
    """A store, open; see libkv.Db. Made by open(), or over a libkv.Db that is open already.

    An asynchronous context manager that closes the store.
    """

    def __init__(self, db: libkv.Db) -> None:
        self._db = db

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = _ABSENT, **options: Unpack[PutOptions]
    ) -> libkv.PutResult:
        """Write one key; see libkv.Db.put()."""
        return cast("libkv.PutResult", await self._write(libkv.Put(key, *_given(value), **options)))

    async def get(self, key: BytesLike, *, revision: int = 0) -> libkv.KeyValue | None:
        """One key as it is now, or at a revision; None if it is not there."""
        return self._db.get(key, revision=revision) if revision else self._db.get(key)

    async def get_into(self, key: BytesLike, buffer: "Buffer") -> int | None:
        """The value of one key into a writable buffer; see libkv.Db.get_into()."""
        return self._db.get_into(key, buffer)

    async def range(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> libkv.RangeResult:
        """The pairs of a range at one revision; see libkv.Db.range()."""
        return self._db.range(*_given(key), **options)

    def scan(self, key: BytesLike | libkv.Range = _ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range, all at one revision; see libkv.Db.scan()."""
        return Scan(self._db.scan(*_given(key), **options))

    async def delete(
        self, key: BytesLike | libkv.Delete = _ABSENT, **options: Unpack[DeleteOptions]
    ) -> libkv.DeleteResult:
        """Delete keys; see libkv.Db.delete()."""
        return cast("libkv.DeleteResult", await self._write(libkv.Delete(*_given(key), **options)))

    async def txn(self, txn: libkv.Txn = _ABSENT, **options: Unpack[TxnOptions]) -> libkv.TxnResult:
        """Compare, then run one of two lists of operations in one revision; see libkv.Db.txn()."""
        request = libkv.Txn(*_given(txn), **options)
        if request._is_read_only():
            return self._db.txn(request)
        return cast("libkv.TxnResult", await self._write(request))

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
                result = await fn(Transaction(t)) if is_async else _plain(fn(t))
            except libkv.CompactedError:
                ended = t._end()
                if not ended.overtaken:
                    raise
            except BaseException:
                t._end()
                raise
            else:
                ended = t._end()
                txn = ended.txn()
                if txn is None or (await self.txn(txn)).succeeded:
                    return result
            await asyncio.sleep(retries.after(ended))

    async def compact(self, revision: int, *, physical: bool = False) -> libkv.CompactResult:
        """Forget history below a revision; see libkv.Db.compact()."""

        def submit(answers: _libkv._Answers, future: asyncio.Future[Any]) -> _libkv._Submitted:
            return self._db._submit_compact(revision, physical, answers, future)

        return cast("libkv.CompactResult", await _answer(submit))

    async def snapshot(self, revision: int = 0) -> Snapshot:
        """A view of one revision, 0 being the current one; see libkv.Db.snapshot()."""
        return Snapshot(self._db.snapshot(revision))

    async def snapshot_at(self, revision: int) -> Snapshot:
        """As snapshot(revision)."""
        return Snapshot(self._db.snapshot_at(revision))

    async def history(self, key: BytesLike, *, limit: int = 0) -> list[libkv.Event]:
        """The events of one key, newest first; see libkv.Db.history()."""
        return self._db.history(key, limit=limit)

    def changes(
        self, after: int, upto: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Event]:
        """Iterate over the events with after < revision <= upto; see libkv.Db.changes()."""
        return Scan(self._db.changes(after, upto, *_given(key), **options))

    def diff(self, a: int, b: int = 0, key: BytesLike = _ABSENT, **options: Unpack[KeyOptions]) -> Scan[libkv.Change]:
        """Iterate over the keys that differ between two revisions; see libkv.Db.diff()."""
        return Scan(self._db.diff(a, b, *_given(key), **options))

    async def status(self) -> libkv.Status:
        """What the store says of itself."""
        return self._db.status()

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
        return await _answer(lambda answers, future: self._db._submit(request, answers, future))


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
