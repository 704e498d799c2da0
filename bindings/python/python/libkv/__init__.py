"""libkv: etcd's data model as a library.

    import libkv

    with libkv.open("data") as db:  # a directory; ":memory:" leaves nothing behind
        first = db.put("greeting", "hello").revision
        db.put("greeting", "goodbye")
        print(db.get("greeting").value)                  # b'goodbye'
        print(db.get("greeting", revision=first).value)  # b'hello'

Every write gets a revision, any past revision can be read until it is compacted, and transactions
compare and swap over many keys. Several processes may have one store open; watchers follow what any of
them writes, and leases, locks and elections work between them. Db has every call; libkv.aio
has the same names to await; libkv.testing has the fixtures for pytest.

Keys and values: bytes out; in, bytes, any contiguous buffer, or str (as UTF-8). Refusals and failures are
exceptions under libkv.Error, one class for each code; a missing key is None.
"""

from libkv import _codes
from libkv._codes import *  # noqa: F403 - one class for each code, listed there
from libkv._errors import Error
from libkv._libkv import (
    AlarmMember,
    CheckReport,
    Clock,
    CompactResponse,
    Compare,
    Db,
    Delete,
    DeleteResponse,
    Difference,
    DiffScan,
    Election,
    Event,
    EventScan,
    KeyValue,
    KeyValues,
    Leaders,
    Lease,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
    Lock,
    Problem,
    Put,
    PutResponse,
    Range,
    RangeResponse,
    Scan,
    Server,
    Snapshot,
    Status,
    Transaction,
    Txn,
    TxnResponse,
    WatchBatch,
    Watcher,
    __version__,
    open,  # noqa: A004 - as sqlite3.connect would be, had it a path for a name
    serve,
)

__all__ = [
    "AlarmMember",
    "CheckReport",
    "Clock",
    "CompactResponse",
    "Compare",
    "Db",
    "Delete",
    "DeleteResponse",
    "DiffScan",
    "Difference",
    "Election",
    "Error",
    "Event",
    "EventScan",
    "KeyValue",
    "KeyValues",
    "Leaders",
    "Lease",
    "LeaseGrantResponse",
    "LeaseKeepAliveResponse",
    "LeaseRevokeResponse",
    "LeaseTimeToLiveResponse",
    "Lock",
    "Problem",
    "Put",
    "PutResponse",
    "Range",
    "RangeResponse",
    "Scan",
    "Server",
    "Snapshot",
    "Status",
    "Transaction",
    "Txn",
    "TxnResponse",
    "WatchBatch",
    "Watcher",
    "__version__",
    "open",
    "serve",
]
__all__ += _codes.__all__
