"""Servers for etcd clients."""

import asyncio
from typing import Self, Unpack

import libkv
from libkv._types import ServeOptions
from libkv.aio._calls import handle_factory
from libkv.aio._db import Db


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


@handle_factory
async def serve(db: Db, address: str = "127.0.0.1:0", **options: Unpack[ServeOptions]) -> Server:
    """Serve a store to etcd's clients; arguments and exceptions are those of libkv.serve()."""
    return Server(await asyncio.to_thread(libkv.serve, db._db, address, **options))
