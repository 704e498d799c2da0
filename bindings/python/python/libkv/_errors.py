"""The exceptions: one class for each code, under Error, with the expected Python parent."""

import builtins
from errno import EACCES, EEXIST, ENOENT, ENOSPC, EROFS


class Error(Exception):
    """An error of libkv.

    Catch the class of a code (CompactedError, BusyError, …), or this one for all. A wrong type is a
    TypeError and a number out of range an OverflowError, which are not subclasses of this class. A
    missing key is not an error.
    """

    code: str = "error"
    """The stable name of the condition, the same in every language: "compacted", "busy", …"""

    message: str
    """For people; it names the key, the revision or the path."""

    revision: int | None
    """For "compacted" the compacted revision, for "future_revision" the current one."""

    lease: int | None
    """The lease concerned, for "lease_not_found", "lease_exists" and "lease_lost"."""

    key: bytes | None
    """The key concerned, for "key_not_found", "duplicate_key" and requests with a refused key."""

    def __init__(
        self,
        message: str = "",
        revision: int | None = None,
        lease: int | None = None,
        key: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.revision = revision
        self.lease = lease
        self.key = key


class InvalidArgumentError(Error, ValueError):
    """Empty key, bad option, value with ignore_value, and the like."""

    code = "invalid_argument"


class KeyNotFoundError(Error, LookupError):
    """ignore_value or ignore_lease on a missing key."""

    code = "key_not_found"


class DuplicateKeyError(Error, ValueError):
    """A txn would write one key twice."""

    code = "duplicate_key"


class TooManyOpsError(Error, ValueError):
    """A txn's list is longer than max_txn_ops."""

    code = "too_many_ops"


class TooLargeError(Error, ValueError):
    """The request is larger than max_request_bytes, or a key longer than a store can hold."""

    code = "too_large"


class CompactedError(Error, LookupError):
    """The revision has been compacted; the attribute revision is the compacted revision."""

    code = "compacted"


class FutureRevisionError(Error, LookupError):
    """The revision has not been written; the attribute revision is the current revision."""

    code = "future_revision"


class LeaseNotFoundError(Error, LookupError):
    """No such lease."""

    code = "lease_not_found"


class LeaseExistsError(Error):
    """The lease id is in use."""

    code = "lease_exists"


class LeaseLostError(Error):
    """A lease, lock or election handle lost its lease."""

    code = "lease_lost"


class ConflictError(Error):
    """transact() gave up after its retries."""

    code = "conflict"


class CancelledError(Error):
    """The caller took the request back before it began; tasks get asyncio.CancelledError."""

    code = "cancelled"


class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001 - named after its code; it is the built-in one too
    """The time given ran out before the request began."""

    code = "timeout"


class ClosedError(Error, ValueError):
    """The handle, or the parent it was made from, is closed."""

    code = "closed"


class ForkedError(Error, RuntimeError):
    """The handle was opened before fork(): open the store again in the child."""

    code = "forked"


class BusyError(Error, builtins.TimeoutError):
    """The write lock is held, or exclusive use is not possible; the message names the holder."""

    code = "busy"


class FullError(Error, OSError):
    """The quota or the disk is full; nothing was written."""

    code = "full"
    errno = ENOSPC


class ReadOnlyError(Error, OSError):
    """The handle or the medium is read-only, or the store is poisoned by a failed sync."""

    code = "read_only"
    errno = EROFS


class IoError(Error, OSError):
    """The operating system reported an error."""

    code = "io"


class CorruptError(Error):
    """The store's bytes are damaged."""

    code = "corrupt"


class IncompatibleError(Error):
    """A newer format, another page size or ABI, an unexpected LMDB."""

    code = "incompatible"


class NotAStoreError(Error):
    """A foreign file or directory."""

    code = "not_a_store"


class NotFoundError(Error, FileNotFoundError):
    """There is no store at that path."""

    code = "not_found"
    errno = ENOENT


class ExistsError(Error, FileExistsError):
    """There is a store already."""

    code = "exists"
    errno = EEXIST


class UnsupportedError(Error, NotImplementedError):
    """The engine, or the build, cannot do it."""

    code = "unsupported"


class UnavailableError(Error, ConnectionError):
    """No endpoint responds."""

    code = "unavailable"


class UnauthenticatedError(Error):
    """No or a bad token."""

    code = "unauthenticated"


class PermissionDeniedError(Error, PermissionError):
    """Refused by file permissions or by auth."""

    code = "permission_denied"
    errno = EACCES


class FailedPreconditionError(Error):
    """Another refusal of a cluster."""

    code = "failed_precondition"


class InternalError(Error, RuntimeError):
    """A defect of libkv; never expected."""

    code = "internal"


class UnknownOutcomeError(Error):
    """The write may or may not be there; the message says how to find out."""

    code = "unknown_outcome"


BY_CODE: dict[str, type[Error]] = {
    cls.code: cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, Error)
}
"""The class of each code; the native part raises what stands here."""

for _cls in BY_CODE.values():
    _cls.__module__ = "libkv"  # where they are to be found, also for pickle
