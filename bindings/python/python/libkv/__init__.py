"""libkv: etcd's data model as a library.

    import libkv

    with libkv.open("data") as db:  # a directory; ":memory:" leaves nothing behind
        first = db.put("greeting", "hello").revision
        db.put("greeting", "goodbye")
        print(db.get("greeting").value)                  # b'goodbye'
        print(db.get("greeting", revision=first).value)  # b'hello'

Every write gets a revision, any past revision can be read until it is compacted, and transactions
compare and swap over many keys. Several processes may have one store open. Db has every call; libkv.aio
has the same names to await; libkv.testing has the fixtures for pytest.

Keys and values: bytes out; in, bytes, any contiguous buffer, or str (as UTF-8). Refusals and failures are
exceptions under libkv.Error, one class for each code; a missing key is None.
"""

from libkv._errors import (
    BusyError,
    CancelledError,
    ClosedError,
    CompactedError,
    ConflictError,
    CorruptError,
    DuplicateKeyError,
    Error,
    ExistsError,
    FailedPreconditionError,
    ForkedError,
    FullError,
    FutureRevisionError,
    IncompatibleError,
    InternalError,
    InvalidArgumentError,
    IoError,
    KeyNotFoundError,
    LeaseExistsError,
    LeaseLostError,
    LeaseNotFoundError,
    NotAStoreError,
    NotFoundError,
    PermissionDeniedError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004 - named after its code; it is the built-in one too
    TooLargeError,
    TooManyOpsError,
    UnauthenticatedError,
    UnavailableError,
    UnknownOutcomeError,
    UnsupportedError,
)
from libkv._libkv import (
    Change,
    ChangeScan,
    CheckReport,
    Clock,
    CompactResult,
    Compare,
    Db,
    Delete,
    DeleteResult,
    Event,
    EventScan,
    KeyValue,
    Problem,
    Put,
    PutResult,
    Range,
    RangeResult,
    Scan,
    Snapshot,
    Status,
    Transaction,
    Txn,
    TxnResult,
    __version__,
    open,  # noqa: A004 - as sqlite3.connect would be, had it a path for a name
)

__all__ = [
    "BusyError",
    "CancelledError",
    "Change",
    "ChangeScan",
    "CheckReport",
    "Clock",
    "ClosedError",
    "CompactResult",
    "CompactedError",
    "Compare",
    "ConflictError",
    "CorruptError",
    "Db",
    "Delete",
    "DeleteResult",
    "DuplicateKeyError",
    "Error",
    "Event",
    "EventScan",
    "ExistsError",
    "FailedPreconditionError",
    "ForkedError",
    "FullError",
    "FutureRevisionError",
    "IncompatibleError",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "KeyNotFoundError",
    "KeyValue",
    "LeaseExistsError",
    "LeaseLostError",
    "LeaseNotFoundError",
    "NotAStoreError",
    "NotFoundError",
    "PermissionDeniedError",
    "Problem",
    "Put",
    "PutResult",
    "Range",
    "RangeResult",
    "ReadOnlyError",
    "Scan",
    "Snapshot",
    "Status",
    "TimeoutError",
    "TooLargeError",
    "TooManyOpsError",
    "Transaction",
    "Txn",
    "TxnResult",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownOutcomeError",
    "UnsupportedError",
    "__version__",
    "open",
]
