"""Reads of many pairs: iterations and snapshots."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, Self, TypeVar, Unpack

import libkv
from libkv._types import BytesLike, RangeOptions
from libkv.aio._calls import ABSENT, STEPS_IN_A_ROW, optional, run

_Item = TypeVar("_Item")
_Item_co = TypeVar("_Item_co", covariant=True)


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
        return await run(self._db, self._snapshot.get, key)

    async def range(
        self, key: BytesLike | libkv.Range = ABSENT, **options: Unpack[RangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range at this revision; see libkv.Snapshot.range()."""
        return await run(self._db, self._snapshot.range, *optional(key), **options)

    def scan(self, key: BytesLike | libkv.Range = ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range at this revision; see libkv.Snapshot.scan()."""
        scan = self._snapshot.scan(*optional(key), **options)
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
