"""live.py PART STORE …: the parts of the second act of the demo in Python, on asyncio; see live.c.

    follow STORE       prints each change of a setting: REVISION KEY VALUE DELAY
    lead STORE NAME    stands for election and, once it leads, proclaims itself until it is killed
    check STORE KILLED FOLLOWED…
                       whether all followers saw the same, once and in order, and whether nobody
                       ever led beside somebody else; prints the table of delays
"""

import asyncio
import os
import random
import statistics
import sys
import time
from pathlib import Path

import libkv
import libkv.aio


def say_ready() -> None:
    print("ready", file=sys.stderr, flush=True)


async def follow(store: str) -> None:
    async with await libkv.aio.open(store) as db:
        watcher = db.watch(prefix="config/", start_revision=1)
        say_ready()
        async for batch in watcher:
            for event in batch.events:
                if event.kv.key == b"config/end":
                    return
                delay = time.monotonic_ns() - int(event.kv.value)
                print(batch.revision, event.kv.key.decode(), event.kv.value.decode(), delay)


async def lead(store: str, name: str) -> None:
    async with await libkv.aio.open(store) as db:
        election = db.election("leader", 60)
        say_ready()
        await election.campaign(f"{name} {os.getpid()} 0")
        print(time.time_ns(), name, "leads", election.revision, flush=True)
        n = 0
        while True:
            n += 1
            await asyncio.sleep(random.random() * 0.005)
            await election.proclaim(f"{name} {os.getpid()} {n}")


def seen_alike(followed: list[Path]) -> list[tuple[str, list[int]]]:
    """What each follower saw, its delays by name."""
    delays = []
    first: list[list[str]] = []
    for path in followed:
        lines = [line.split() for line in path.read_text().splitlines()]
        seen = [line[:3] for line in lines]
        revisions = [int(line[0]) for line in lines]
        if not seen or revisions != sorted(set(revisions)):
            sys.exit(f"{path.name} did not see each change once and in order")
        first = first or seen
        if seen != first:
            sys.exit(f"{path.name} saw something else than {followed[0].name}")
        delays.append((path.stem, [int(line[3]) for line in lines]))
    return delays


def one_led_at_a_time(store: str) -> int:
    """Goes through the election's events: whoever proclaims must be the first in the line."""
    line: dict[bytes, int] = {}
    leaders = []
    with libkv.open(store, create=False) as db:
        for event in db.events(0, prefix="leader/"):
            kv = event.kv
            if event.type == "delete":
                line.pop(kv.key, None)
                continue
            line.setdefault(kv.key, kv.create_revision)
            if kv.version > 1:
                if min(line, key=line.__getitem__) != kv.key:
                    sys.exit(f"{kv.value!r} proclaimed itself at revision {kv.mod_revision} but did not lead")
                if not leaders or leaders[-1] != kv.create_revision:
                    leaders.append(kv.create_revision)
    if leaders != sorted(set(leaders)):
        sys.exit("a leader came back, or the fencing revisions did not grow")
    return len(leaders)


def check(store: str, killed: Path, followed: list[Path]) -> None:
    rows = [(f"{name}: a change seen", delays) for name, delays in seen_alike(followed)]
    leaders = one_led_at_a_time(store)
    gaps = [int(line) for line in killed.read_text().split()]
    rows.append(("a killed leader replaced", gaps))
    print(f"{'':26}{'times':>7}{'median':>11}{'worst':>11}")
    for what, times in rows:
        print(f"{what:26}{len(times):7}{statistics.median(times) / 1e6:8.2f} ms{max(times) / 1e6:8.2f} ms")
    print(f"{leaders} leaders one after the other, none beside another; each change seen once, in order, by all")


def main() -> None:
    match sys.argv[1:]:
        case ["follow", store]:
            asyncio.run(follow(store))
        case ["lead", store, name]:
            asyncio.run(lead(store, name))
        case ["check", store, killed, *followed]:
            check(store, Path(killed), [Path(path) for path in followed])
        case _:
            sys.exit("usage: live.py follow|lead|check STORE …")


main()
