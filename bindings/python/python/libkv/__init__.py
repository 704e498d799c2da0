"""libkv: etcd's data model as a library.

    import libkv

    with libkv.open("data") as db:  # a directory; ":memory:" has no files
        first = db.put("greeting", "hello").revision
        db.put("greeting", "goodbye")
        print(db.get("greeting").value)                  # b'goodbye'
        print(db.get("greeting", revision=first).value)  # b'hello'

Every write gets a revision. Past revisions can be read until they are compacted. Transactions
compare and write many keys. Several processes can have one store open: watchers deliver the writes
of all of them, and leases, locks and elections work between them. Db has all calls; libkv.aio has
the same names for await; libkv.testing has fixtures for pytest.

Keys and values are returned as bytes; arguments are bytes, any contiguous buffer, or str (as
UTF-8). Errors are subclasses of libkv.Error, one for each code; a missing key is None.
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
