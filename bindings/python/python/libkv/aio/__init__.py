"""libkv for asyncio and uvloop: the names of libkv, awaitable.

    async with libkv.aio.open("data") as db:
        await db.put("greeting", "hello")
        async for kv in db.scan(prefix="g"):
            print(kv.key)

Reads of a store in this process run on the loop's thread and do not wait. Writes go to the store's
queue; all writes that wait at one moment share a commit, and the loop is woken once for the
responses of a group. Watchers, leases, locks and elections wake the loop in the same way: each wait
is a future, and no call or handle needs a thread. Only open(), close(), check(), hash_kv(),
snapshot_save(), restore() and the changes of users, roles and alarms run on a thread of the loop's
executor, because they are rare and may take long: hashing a password takes 50 ms.

On a cluster no call waits on the loop's thread either: get(), range(), writes, leases, locks and
elections are concurrent requests without a thread. The other reads, and the start of a watcher, run
on a thread of the loop's executor, as does a plain function given to transact().

open(), serve(), lease(), snapshot() and snapshot_at() create a handle: await the call, or enter it
directly with `async with`.

Several loops, in several threads, can use one Db. Cancelling an awaited write cancels the write if
no writer has begun it; otherwise the CancelledError has an UnknownOutcomeError as its cause.
Cancelling a wait for a lock or an election leaves its queue.
"""

from libkv.aio._claims import Election, Leaders, Lock
from libkv.aio._db import Db, open  # noqa: A004 - as libkv.open
from libkv.aio._lease import Lease
from libkv.aio._reads import Scan, Snapshot
from libkv.aio._server import Server, serve
from libkv.aio._snapshot_file import restore
from libkv.aio._transaction import Transaction
from libkv.aio._watcher import Watcher

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
    "restore",
    "serve",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # where programs find them
