"""Stores made from snapshot files."""

import asyncio

import libkv
from libkv._types import Target


async def restore(snapshot: Target, store: Target, *, skip_hash_check: bool = False) -> int:
    """Make a store from a snapshot; arguments and exceptions are those of libkv.restore()."""
    return await asyncio.to_thread(libkv.restore, snapshot, store, skip_hash_check=skip_hash_check)
