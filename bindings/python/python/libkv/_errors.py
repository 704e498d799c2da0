"""The base class of all exceptions; _codes.py has a class for each code."""


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
