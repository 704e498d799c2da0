"""The conformance driver of Python: driver.py [--aio] STORE|ADDRESS [limits=etcd].

It reads one step a line, executes it, and prints the response as a line.
tests/conformance/README.md describes the language. With --aio every step goes through libkv.aio.
"""

import asyncio
import re
import string
import sys
import time
from collections.abc import Callable
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
    "start": "start_revision",
}
CLOCK_START_MS = 1_000_000_000_000
"""The first time of the manual clock."""
WAIT_LIMIT_SECONDS = 20
CLAIM_TTL_SECONDS = 60


def to_bytes(word: str) -> bytes:
    r"""`_` is the empty string, `*N` is N times x, `\hh` is one byte."""
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
    """Remove the options at the beginning of words and return them."""
    found: dict[str, Any] = {}
    while words and words[0] != ";":
        name, equals, value = words.pop(0).partition("=")
        found[OPTIONS.get(name, name)] = True if not equals else int(value) if value.lstrip("-").isdigit() else value
    return found


def request(kind: str, words: list[str]) -> Any:
    """A request value from the words after its name."""
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
    before = f" <{pair(event.prev_kv)}" if event.prev_kv else ""
    if event.type == "put":
        return f" put:{pair(event.kv)}{before}"
    return f" delete:{show(event.kv.key)}@{event.kv.mod_revision}{before}"


def claim_key(key: bytes) -> str:
    """A key of a lock or an election, with `*` for the lease id after the last /."""
    start, slash, digits = key.rpartition(b"/")
    return show(start + slash) + "*" if re.fullmatch(rb"[0-9a-f]+", digits) else show(key)


def leader(kv: libkv.KeyValue | None) -> str:
    if kv is None:
        return "none"
    lease = "*" if kv.lease > 0 else kv.lease
    return f"leader {claim_key(kv.key)}={show(kv.value)}@{kv.create_revision}/{kv.mod_revision}/{kv.version}/{lease}"


def line_of(result: Any) -> str:
    match result:
        case libkv.PutResponse(revision, prev_kv):
            return f"put {revision}" + (f" prev {pair(prev_kv)}" if prev_kv else "")
        case libkv.RangeResponse(revision, kvs, count, more):
            return f"range {revision} count={count}{' more' if more else ''}{pairs(kvs)}"
        case libkv.DeleteResponse(revision, deleted, prev_kvs):
            return f"delete {revision} deleted={deleted}{pairs(prev_kvs)}"
        case libkv.TxnResponse(succeeded, revision, responses):
            return f"txn {revision} {'then' if succeeded else 'else'}" + "".join(f" [{line_of(r)}]" for r in responses)
        case libkv.CompactResponse(revision):
            return f"compact {revision}"
        case libkv.Status():
            numbers = (-1 if number is None else number for number in (result.compacted_revision, result.keys))
            return " ".join(map(str, ("status", result.revision, *numbers)))
        case libkv.CheckReport(_, _, problems):
            return f"check problems={len(problems)}" + "".join(f" {problem}" for problem in problems)
        case libkv.WatchBatch(revision, events):
            return f"batch {revision}" + "".join(map(event, events))
        case libkv.LeaseRevokeResponse(revision):
            return f"revoked {revision}"
        case libkv.LeaseKeepAliveResponse(id_, ttl):
            return f"kept {id_} {ttl}"
        case libkv.LeaseTimeToLiveResponse(id_, left, granted, on_it):
            word = "all" if left >= 0 and granted - left <= 1 else left
            return f"ttl {id_} {word} granted={granted}" + "".join(f" {show(key)}" for key in sorted(on_it))
        case None:
            return "none"
    return f"kv {pair(result)}"


class Driver:
    def __init__(self, store: str, *, is_aio: bool, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.how: Any = libkv.aio.open if is_aio else libkv.open
        self.clock = libkv.Clock(CLOCK_START_MS)
        # a cluster has no manual clock, and keeps running when the handle is closed
        self.is_cluster = "://" in store and not store.startswith("file:")
        self.store, self.settings = store, {} if self.is_cluster else {**settings, "clock": self.clock}
        self.db = self.open()

    def open(self) -> Any:
        self.watchers: dict[str, Any] = {}
        self.claims: dict[tuple[str, str], Any] = {}
        return self.done(self.how(self.store, **self.settings))

    def done(self, result: Any) -> Any:
        """Await or iterate a result, if it needs that."""
        if asyncio.iscoroutine(result):
            return self.loop.run_until_complete(result)
        if isinstance(result, libkv.aio.Scan):
            return self.done(self.collected(result))
        if isinstance(result, libkv.Scan | libkv.EventScan | libkv.DiffScan):
            return list(result)
        return result

    def within(self, call: Callable[[], Any]) -> Any:
        """Call a function that is not a coroutine inside the running loop."""

        async def called() -> Any:
            return call()

        return self.done(called())

    async def collected(self, scan: libkv.aio.Scan[Any]) -> list[Any]:
        return [item async for item in scan]

    def settled(self, watcher: Any, idle: Callable[[], str]) -> str:
        """The next batch, or the text of idle() once the watcher has delivered everything."""
        until = time.monotonic() + WAIT_LIMIT_SECONDS
        while time.monotonic() < until:
            batch = self.done(watcher.try_next())
            if batch is not None:
                return line_of(batch)
            resume = watcher.resume_revision  # read before the revision that it is compared with
            if resume > self.done(self.db.status()).revision:
                return idle()
            time.sleep(0.001)
        return "nothing"

    def watch(self, kind: str, name: str, words: list[str]) -> str:
        if kind == "watch":
            self.watchers.pop(name, None)
            which, how = keys(words.pop(0)), options(words)
            watcher = self.within(lambda: self.db.watch(**which, **how))
            if isinstance(watcher, libkv.aio.Watcher):
                self.done(watcher.__aenter__())  # waits until a cluster has confirmed or refused it
            self.watchers[name] = watcher
            return f"watching {name}"
        watcher = self.watchers.get(name)
        if watcher is None:
            return f"no watcher {name}"
        match kind:
            case "next":
                batch = self.done(watcher.next(WAIT_LIMIT_SECONDS))
                return "nothing" if batch is None else line_of(batch)
            case "idle":
                return self.settled(watcher, lambda: "idle")
            case "resume":
                return self.settled(watcher, lambda: f"resume {watcher.resume_revision}")
        watcher.cancel()
        return "cancelled"

    def claim(self, kind: str, name: str, words: list[str]) -> str:
        made = "lock" if kind in ("lock", "unlock") else "election"
        if (made, name) not in self.claims:
            self.claims[made, name] = getattr(self.db, made)(to_bytes(name), CLAIM_TTL_SECONDS)
        claim = self.claims[made, name]
        match kind:
            case "lock":
                self.done(claim.acquire(WAIT_LIMIT_SECONDS))
                return f"locked {claim_key(claim.key)} revision={claim.revision}"
            case "unlock":
                self.done(claim.release())
                return "unlocked"
            case "campaign":
                self.done(claim.campaign(to_bytes(words[0]), WAIT_LIMIT_SECONDS))
                return f"leads {claim_key(claim.key)} revision={claim.revision}"
            case "proclaim":
                self.done(claim.proclaim(to_bytes(words[0])))
                return "proclaimed"
            case "leader":
                return leader(self.done(claim.leader()))
        self.done(claim.resign())
        return "resigned"

    def lease(self, kind: str, words: list[str]) -> str:
        number = int(words.pop(0)) if words else 0
        match kind:
            case "lease_grant":
                chosen = options(words)
                granted = self.done(self.db.lease_grant(number, **chosen))
                shown = "*" if not chosen.get("id") and granted.id > 0 else granted.id
                return f"granted {shown} {granted.ttl_seconds}"
            case "lease_revoke":
                return line_of(self.done(self.db.lease_revoke(number)))
            case "keep_alive":
                return line_of(self.done(self.db.lease_keep_alive(number)))
            case "time_to_live":
                return line_of(self.done(self.db.lease_time_to_live(number, **options(words))))
        return "leases" + "".join(f" {id_}" for id_ in sorted(self.done(self.db.lease_list())))

    def step(self, line: str) -> str:
        kind, *words = line.split()

        def call(*args: Any, **named: Any) -> Any:
            return self.done(getattr(self.db, kind)(*args, **named))

        if self.is_cluster and kind in ("reopen", "advance"):
            return "not on a cluster"
        match kind:
            case "put" | "range" | "delete" | "txn":
                return line_of(call(request(kind, words)))
            case "get":
                return line_of(call(to_bytes(words.pop(0)), **options(words)))
            case "get_into":
                buffer = bytearray(int(words[1]))
                length = call(to_bytes(words[0]), buffer)
                if length is None:
                    return "none"
                return f"length {length}" if length > len(buffer) else f"value {show(bytes(buffer[:length]))}"
            case "compact":
                return line_of(call(int(words[0]), physical="physical" in words))
            case "scan":
                return f"scan{pairs(call(request('range', words)))}"
            case "history":
                return "events" + "".join(map(event, call(to_bytes(words.pop(0)), **options(words))))
            case "events":
                return "events" + "".join(map(event, call(int(words[0]), int(words[1]), **keys(words[2]))))
            case "diff":
                found = call(int(words[0]), int(words[1]), **keys(words[2]))
                return "diff" + "".join(f" {show(c.key)}:{pair(c.before)}>{pair(c.after)}" for c in found)
            case "alarm_list" | "alarm_activate" | "alarm_disarm":
                kinds = [words.pop(0).lower()] if kind == "alarm_activate" else []
                given = {name: v.lower() if isinstance(v, str) else v for name, v in options(words).items()}
                alarms = call(*kinds, **given)
                return "alarms" + "".join(f" {alarm.kind.upper()}/{alarm.member}" for alarm in alarms)
            case "status" | "check":
                return line_of(call())
            case "lease_grant" | "lease_revoke" | "keep_alive" | "time_to_live" | "lease_list":
                return self.lease(kind, words)
            case "advance":
                self.clock.advance(int(words[0]) * 1_000)
                return "advanced"
            case "revision_at":
                return f"revision {call(CLOCK_START_MS / 1_000 + int(words[0]))}"
            case "watch" | "next" | "idle" | "resume" | "cancel":
                return self.watch(kind, words[0], words[1:])
            case "lock" | "unlock" | "campaign" | "proclaim" | "leader" | "resign":
                return self.claim(kind, words[0], words[1:])
            case "reopen":
                self.done(self.db.close())
                self.db = self.open()
                return "reopened"
        return f"driver: unknown step {kind}"


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
