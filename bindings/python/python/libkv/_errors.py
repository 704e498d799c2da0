"""The exception that all others derive from; see _codes.py for those."""


class Error(Exception):
    """A refusal or failure of libkv.

    Catch the class of a code (CompactedError, BusyError, …), or this one for all. Wrong types are
    TypeError and not of this family, as are numbers out of range (OverflowError); a missing key is no
    error at all.
    """

    code: str = "error"
    """The stable name of the condition, the same in every language: "compacted", "busy", …"""

    message: str
    """For people: names the key, the revision or the path that is meant."""

    revision: int | None
    """For "compacted" the compacted revision, for "future_revision" the current one."""

    lease: int | None
    """The lease concerned, for "lease_not_found", "lease_exists" and "lease_lost"."""

    key: bytes | None
    """The key concerned, for "key_not_found", "duplicate_key" and requests refused for one of their keys."""

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
