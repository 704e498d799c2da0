"""Watch a store and write one line for each batch: follower.py STORE HOW FILE.

tests/conformance/src/follow.rs defines the form of the line. After a kill the program continues
after the last complete line. It ends at the key `end`. HOW is all, or puts (under a/ to e).
"""

import sys
import zlib
from pathlib import Path

import libkv


def line_of(batch: libkv.WatchBatch) -> str:
    crc = 0
    for event in batch.events:
        kv = event.kv
        numbers = b"".join(number.to_bytes(8, "little") for number in (kv.create_revision, kv.mod_revision, kv.version))
        crc = zlib.crc32(kv.key + bytes([event.type == "delete"]) + kv.value + numbers, crc)
    return f"{batch.revision} {len(batch.events)} {crc:08x}\n"


def main(store: str, how: str, path: Path) -> None:
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole)
    start = int(whole.splitlines()[-1].split()[0]) + 1 if whole else 1
    with libkv.open(store) as db, path.open("a") as out:
        puts = how == "puts"
        watcher = (
            db.watch(start="a/", end="f", no_delete=True, start_revision=start)
            if puts
            else db.watch(start_revision=start)
        )
        for batch in watcher:
            out.write(line_of(batch))
            out.flush()
            if any(event.kv.key == b"end" for event in batch.events):
                return


main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
