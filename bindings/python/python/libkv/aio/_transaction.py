"""The argument of the function that transact() runs."""

import inspect
from typing import TypeVar, Unpack

import libkv
from libkv._types import BytesLike, KeyOptions, TransactionPutOptions, TransactionRangeOptions
from libkv.aio._calls import ABSENT, optional, run

_T = TypeVar("_T")


class Transaction:
    """The argument of the async function that transact() runs. See libkv.Transaction."""

    def __init__(self, transaction: libkv.Transaction, db: libkv.Db) -> None:
        self._transaction = transaction
        self._db = db

    async def get(self, key: BytesLike) -> libkv.KeyValue | None:
        """Read one key, or None; see libkv.Transaction.get()."""
        return await run(self._db, self._transaction.get, key)

    async def range(
        self, key: BytesLike | libkv.Range = ABSENT, **options: Unpack[TransactionRangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range by key, with own writes; see libkv.Transaction.range()."""
        return await run(self._db, self._transaction.range, *optional(key), **options)

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = ABSENT, **options: Unpack[TransactionPutOptions]
    ) -> None:
        """Write a key at the commit; see libkv.Transaction.put()."""
        await run(self._db, self._transaction.put, key, *optional(value), **options)

    async def delete(self, key: BytesLike | libkv.Delete = ABSENT, **options: Unpack[KeyOptions]) -> int:
        """Delete keys at the commit; return the number that this transaction sees."""
        return await run(self._db, self._transaction.delete, *optional(key), **options)


def plain(result: _T) -> _T:
    """Refuse a coroutine: fn is async, but was not recognised as such."""
    if inspect.iscoroutine(result):
        result.close()
        message = "fn is async but does not look so: pass the function itself or a functools.partial, not a lambda"
        raise TypeError(message)
    return result
