"""The conformance driver: reads a step a line, does it through libkv, prints its answer as a line.

driver.py [--aio] STORE [limits=etcd]. The language is told in tests/README.md. With --aio every step goes
through libkv.aio.
"""

import asyncio
import inspect
import re
import string
import sys
from typing import Any

import libkv
import libkv.aio

TARGETS = {"version": "version", "create": "create_revision", "mod": "mod_revision", "value": "value", "lease": "lease"}
PLAIN = string.ascii_letters + string.digits + ".-/"
OPTIONS = {
    "order": "sort_order",
    "target": "sort_target",
    "min_mod": "min_mod_revision",
    "max_mod": "max_mod_revision",
    "min_create": "min_create_revision",
    "max_create": "max_create_revision",
}


def to_bytes(word: str) -> bytes:
    r"""`_` is no bytes, `*N` is N times x, `\hh` one byte."""
    if word == "_":
        return b""
    if word.startswith("*"):
        return b"x" * int(word[1:])
    return re.sub(rb"\\(..)", lambda found: bytes([int(found[1], 16)]), word.encode())


def keys(word: str) -> dict[str, Any]:
    """KEY or KEY,END in etcd's notation, as the keywords of a range."""
    key, comma, end = word.partition(",")
    if not comma or not end:
        return {"key": to_bytes(key)}
    if to_bytes(end) == b"\0":
        return {"start": to_bytes(key)}
    return {"start": to_bytes(key), "end": to_bytes(end)}


def options(words: list[str]) -> dict[str, Any]:
    """The options at the head of words, which are taken away."""
    found: dict[str, Any] = {}
    while words and words[0] != ";":
        name, equals, value = words.pop(0).partition("=")
        found[OPTIONS.get(name, name)] = True if not equals else int(value) if value.lstrip("-").isdigit() else value
    return found


def request(kind: str, words: list[str]) -> Any:
    """A request value from the words behind its name."""
    match kind:
        case "put":
            key, value = to_bytes(words.pop(0)), to_bytes(words.pop(0))
            return libkv.Put(key, value, **options(words))
        case "range":
            return libkv.Range(**keys(words.pop(0)), **options(words))
        case "delete":
            return libkv.Delete(**keys(words.pop(0)), **options(words))
    lists: dict[str, list[Any]] = {"if": [], "then": [], "else": []}
    branch = "then"
    while (word := words.pop(0)) != "end":
        if word in ("then", "else"):
            branch = word
            continue
        if word == "if":
            target, result, operand, where = (words.pop(0) for _ in range(4))
            against = to_bytes(operand) if target == "value" else int(operand)
            lists["if"].append(getattr(libkv.Compare, TARGETS[target])(libkv.Range(**keys(where)), result, against))
        else:
            lists[branch].append(request(word, words))
        assert words.pop(0) == ";"
    return libkv.Txn(compare=lists["if"], success=lists["then"], failure=lists["else"])


def show(value: bytes) -> str:
    if not value:
        return "_"
    if len(value) > 64 and value == b"x" * len(value):
        return f"*{len(value)}"
    return "".join(chr(byte) if chr(byte) in PLAIN else f"\\{byte:02x}" for byte in value)


def pair(kv: libkv.KeyValue | None) -> str:
    if kv is None:
        return "none"
    return f"{show(kv.key)}={show(kv.value)}@{kv.create_revision}/{kv.mod_revision}/{kv.version}/{kv.lease}"


def pairs(kvs: Any) -> str:
    return "".join(f" {pair(kv)}" for kv in kvs)


def event(event: libkv.Event) -> str:
    if event.type == "put":
        return f" put:{pair(event.kv)}"
    return f" delete:{show(event.kv.key)}@{event.kv.mod_revision}"


def answer(result: Any) -> str:
    match result:
        case libkv.PutResult(revision, prev_kv):
            return f"put {revision}" + (f" prev {pair(prev_kv)}" if prev_kv else "")
        case libkv.RangeResult(revision, kvs, count, more):
            return f"range {revision} count={count}{' more' if more else ''}{pairs(kvs)}"
        case libkv.DeleteResult(revision, deleted, prev_kvs):
            return f"delete {revision} deleted={deleted}{pairs(prev_kvs)}"
        case libkv.TxnResult(succeeded, revision, responses):
            return f"txn {revision} {'then' if succeeded else 'else'}" + "".join(f" [{answer(r)}]" for r in responses)
        case libkv.CompactResult(revision):
            return f"compact {revision}"
        case libkv.Status():
            return f"status {result.revision} {result.compacted_revision} {result.keys}"
        case libkv.CheckReport(_, _, problems):
            return f"check problems={len(problems)}" + "".join(f" {problem}" for problem in problems)
        case None:
            return "none"
    return f"kv {pair(result)}"


class Driver:
    def __init__(self, store: str, *, is_aio: bool, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.how: Any = libkv.aio.open if is_aio else libkv.open
        self.store, self.settings = store, settings
        self.db = self.open()

    def open(self) -> Any:
        return self.done(self.how(self.store, **self.settings))

    def done(self, result: Any) -> Any:
        """What was awaited, iterated or simply answered."""
        if inspect.iscoroutine(result):
            return self.loop.run_until_complete(result)
        if isinstance(result, libkv.aio.Scan):
            return self.done(self.collected(result))
        if isinstance(result, libkv.Scan | libkv.EventScan | libkv.ChangeScan):
            return list(result)
        return result

    async def collected(self, scan: libkv.aio.Scan[Any]) -> list[Any]:
        return [item async for item in scan]

    def step(self, line: str) -> str:
        kind, *words = line.split()

        def call(*args: Any, **named: Any) -> Any:
            return self.done(getattr(self.db, kind)(*args, **named))

        match kind:
            case "put" | "range" | "delete" | "txn":
                return answer(call(request(kind, words)))
            case "get":
                return answer(call(to_bytes(words.pop(0)), **options(words)))
            case "get_into":
                buffer = bytearray(int(words[1]))
                length = call(to_bytes(words[0]), buffer)
                if length is None:
                    return "none"
                return f"length {length}" if length > len(buffer) else f"value {show(bytes(buffer[:length]))}"
            case "compact":
                return answer(call(int(words[0]), physical="physical" in words))
            case "scan":
                return f"scan{pairs(call(request('range', words)))}"
            case "history":
                return "events" + "".join(map(event, call(to_bytes(words.pop(0)), **options(words))))
            case "changes":
                return "events" + "".join(map(event, call(int(words[0]), int(words[1]), **keys(words[2]))))
            case "diff":
                found = call(int(words[0]), int(words[1]), **keys(words[2]))
                return "diff" + "".join(f" {show(c.key)}:{pair(c.before)}>{pair(c.after)}" for c in found)
            case "status" | "check":
                return answer(call())
            case "reopen":
                self.done(self.db.close())
                self.db = self.open()
                return "reopened"
        return f"driver: no step {kind}"


def main() -> None:
    is_aio = sys.argv[1] == "--aio"
    store, *settings = sys.argv[2 if is_aio else 1 :]
    driver = Driver(store, is_aio=is_aio, limits="etcd" if "limits=etcd" in settings else None)
    for line in sys.stdin:
        try:
            print(driver.step(line), flush=True)
        except libkv.Error as error:
            print("error", error.code, error.message.split(" (")[0], flush=True)


if __name__ == "__main__":
    main()
