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

    revision: int
    """For "compacted" the compacted revision, for "future_revision" the current one, else 0."""

    def __init__(self, message: str = "", revision: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.revision = revision
