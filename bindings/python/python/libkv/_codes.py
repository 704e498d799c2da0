# Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.
"""One exception class for each code, with the parent that Python programs expect."""

import builtins
from errno import EACCES, EEXIST, ENOENT, ENOSPC, EROFS

from libkv._errors import Error


class InvalidArgumentError(Error, ValueError):
    """An empty key, an invalid option, a value with ignore_value, and the like."""

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
    """The revision has been compacted; the error's revision is the compacted revision."""

    code = "compacted"


class FutureRevisionError(Error, LookupError):
    """The revision has not been written; the error's revision is the current revision."""

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
    """A transaction with retries gave up after its last retry."""

    code = "conflict"


class CancelledError(Error):
    """The caller withdrew the request before it began, or ended the wait."""

    code = "cancelled"


class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001 - named after its code; it is the built-in one too
    """The timeout passed before the request began, or before the wait ended."""

    code = "timeout"


class ClosedError(Error, ValueError):
    """The handle, or the parent it was made from, is closed."""

    code = "closed"


class ForkedError(Error, RuntimeError):
    """The handle was opened before fork(); open the store again in the child."""

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
    """The path is a file or a directory that is not a store."""

    code = "not_a_store"


class NotFoundError(Error, FileNotFoundError):
    """There is no store at that path."""

    code = "not_found"
    errno = ENOENT


class ExistsError(Error, FileExistsError):
    """The store exists already."""

    code = "exists"
    errno = EEXIST


class UnsupportedError(Error, NotImplementedError):
    """Not possible with this engine or build."""

    code = "unsupported"


class UnavailableError(Error, ConnectionError):
    """No endpoint of the cluster is reachable; the message names each with its reason."""

    code = "unavailable"


class UnauthenticatedError(Error):
    """The token, the user or the password is missing or invalid."""

    code = "unauthenticated"


class PermissionDeniedError(Error, PermissionError):
    """Refused by file permissions or by auth."""

    code = "permission_denied"
    errno = EACCES


class FailedPreconditionError(Error):
    """Not the leader; a user or role is missing or exists; another refusal of a cluster."""

    code = "failed_precondition"


class InternalError(Error, RuntimeError):
    """A defect of libkv; never expected."""

    code = "internal"


class UnknownOutcomeError(Error):
    """The write may or may not have happened; the message explains how to find out."""

    code = "unknown_outcome"


_CLASSES: list[type[Error]] = [Error, *Error.__subclasses__()]

BY_CODE = {cls.code: cls for cls in _CLASSES}
"""The class of each code; the native part raises these."""

for _cls in _CLASSES:
    _cls.__module__ = "libkv"  # where programs find them, also for pickle
