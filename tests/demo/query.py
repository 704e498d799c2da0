"""query.py STORE QUERY …: some of the queries of query.c, in Python.

    changes FROM TO     what changed between two revisions, with sizes
    versions PATH       every version of a file, newest first
    digest REVISION     number of files at that revision, their bytes, a checksum of all

It prints the same lines as query.c. common.h describes the values.
"""

import os
import sys
import zlib

import libkv


def name(key: bytes) -> str:
    """A name as one line of text."""
    special = {ord("\n"): "\\n", ord("\\"): "\\\\"}
    return "".join(special.get(byte) or (chr(byte) if 32 <= byte <= 126 else f"\\x{byte:02x}") for byte in key)


def described(value: bytes) -> str:
    """The kind of a value, unless it is a plain file, and the size of its content."""
    kind = {b"x": "program of ", b"l": "link of "}.get(value[:1], "")
    return "empty directory" if value[:1] == b"d" else f"{kind}{len(value) - 1} bytes"


def changes(db: libkv.Db, before: int, after: int) -> None:
    counts = {"+": 0, "-": 0, "~": 0}
    for change in db.diff(before, after):
        sign = "+" if change.before is None else "-" if change.after is None else "~"
        counts[sign] += 1
        values = [described(kv.value) for kv in (change.before, change.after) if kv is not None]
        print(f"  {sign} {name(change.key)}  {' -> '.join(values)}")
    print(f"{counts['+']} added, {counts['-']} removed, {counts['~']} changed")


def versions(db: libkv.Db, path: bytes) -> None:
    for event in db.history(path):
        kv = event.kv
        what = "removed" if event.type == "delete" else f"version {kv.version}, {described(kv.value)}"
        print(f"  {name(path)}  revision {kv.mod_revision}: {what}")


def digest(db: libkv.Db, revision: int) -> None:
    entries = size = crc = 0
    for kv in db.scan(revision=revision):
        entries += 1
        size += len(kv.value) - 1
        crc = zlib.crc32(kv.value, zlib.crc32(kv.key, crc))
    print(f"revision {revision}: {entries} files and links, {size} bytes, checksum {crc:08x}")


def main() -> None:
    store, query, *words = sys.argv[1:]
    with libkv.open(store, create=False) as db:
        match query, words:
            case "changes", [before, after]:
                changes(db, int(before), int(after))
            case "versions", [path]:
                versions(db, os.fsencode(path))
            case "digest", [revision]:
                digest(db, int(revision))
            case _:
                sys.exit(f"{query} is not a query, or an argument is missing")


main()
