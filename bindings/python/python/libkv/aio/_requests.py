"""How the calls of a Db reach its store."""

import asyncio
from collections.abc import Callable
from typing import Any

import libkv
from libkv import _libkv
from libkv._types import Op
from libkv.aio._mailbox import wait_for_write
from libkv.aio._sources import RemoteSource


class Requests:
    """Submits the requests of a Db, and creates its watchers."""

    def __init__(self, db: libkv.Db) -> None:
        self._db = db
        self._opening: set[asyncio.Future[Any]] = set()

    async def _write(self, request: Op) -> object:
        if self._opening:
            await self._confirm_watchers()
        return await self._submit(request)

    async def _submit(self, request: Op | _libkv._Request) -> object:
        return await wait_for_write(lambda mailbox, future: self._db._submit(request, mailbox, future))

    def _source(self, make: Callable[[], Any], *, resume: int, reads_wait: bool) -> Any:
        """Create a watcher or leaders: in the call, or, on a cluster, on a thread."""
        return (
            RemoteSource(make, self._opening, resume=resume, reads_wait=reads_wait) if self._db._is_remote else make()
        )

    async def _confirm_watchers(self) -> None:
        """Wait until the cluster has confirmed the watchers of this loop."""
        loop = asyncio.get_running_loop()
        while mine := [made for made in list(self._opening) if made.get_loop() is loop]:
            await asyncio.wait(mine)
