"""How a loop is woken for responses: one mailbox for each loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import libkv
from libkv import _libkv

_MAILBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, _libkv._Mailbox] = WeakKeyDictionary()
_NEW_LOOP = threading.Lock()


def mailbox_of(loop: asyncio.AbstractEventLoop) -> _libkv._Mailbox:
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


async def wait_for_write(
    submit: Callable[[_libkv._Mailbox, asyncio.Future[Any]], _libkv._Submission],
) -> object:
    """Submit a write and wait for its response.

    If cancelled, cancel the write or raise that it was too late.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    submitted = submit(mailbox_of(loop), future)
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


async def wait_for_response(pending: _libkv._PendingResponse, future: asyncio.Future[None]) -> None:
    """Wait for a response.

    If cancelled, cancel the request, or revoke a lease that comes too late.
    """
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        if not pending.cancel():
            future.add_done_callback(lambda _: pending.abandon())
        raise


async def revoke(submit: Callable[[_libkv._Mailbox, asyncio.Future[Any]], _libkv._Submission | None]) -> None:
    """Wait for a revocation; it is a success if the lease does not exist any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    if submit(mailbox_of(loop), future) is not None:
        with contextlib.suppress(libkv.LeaseNotFoundError):
            await future
