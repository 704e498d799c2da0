"""What all parts share: arguments that are left out, handles that are entered directly, reads."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, ParamSpec, Protocol, Self, TypeVar

import libkv

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Handle = TypeVar("_Handle", bound="AsyncHandle")

ABSENT: Any = object()
"""The value of an argument that is left out."""

STEPS_IN_A_ROW: Final = 1024
"""After this number of steps an iteration lets other tasks run."""


class AsyncHandle(Protocol):
    """A handle, as `async with` requires it."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...


class PendingHandle(Coroutine[Any, Any, _Handle]):
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


def handle_factory(make: Callable[_P, Coroutine[Any, Any, _Handle]]) -> Callable[_P, PendingHandle[_Handle]]:
    """Lets the result of an async function be entered without an inner await."""

    @functools.wraps(make)
    def making(*args: _P.args, **kwargs: _P.kwargs) -> PendingHandle[_Handle]:
        return PendingHandle(make(*args, **kwargs))

    return making


async def run(db: libkv.Db, call: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """Run a call on the loop's thread, or, for a cluster, on a thread of the executor."""
    if db._is_remote:
        return await asyncio.to_thread(call, *args, **options)
    return call(*args, **options)


def optional(argument: _T) -> tuple[_T, ...]:
    return () if argument is ABSENT else (argument,)
