"""live.py PART STORE …: the processes of section 9 of the demo in Python, on asyncio; see live.c.

    follow STORE       prints each change of a setting: REVISION KEY VALUE DELAY
    lead STORE NAME    campaigns in an election and, as leader, proclaims itself until it is killed
    check STORE KILLED FOLLOWED…
                       checks that all followers printed the same changes, once and in order, and
                       that there was never more than one leader; prints a table of delays
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


def report_ready() -> None:
    print("ready", file=sys.stderr, flush=True)


async def follow(store: str) -> None:
    async with await libkv.aio.open(store) as db:
        watcher = db.watch(prefix="config/", start_revision=1)
        report_ready()
        async for batch in watcher:
            for event in batch.events:
                if event.kv.key == b"config/end":
                    return
                delay = time.monotonic_ns() - int(event.kv.value)
                print(batch.revision, event.kv.key.decode(), event.kv.value.decode(), delay)


async def lead(store: str, name: str) -> None:
    async with await libkv.aio.open(store) as db:
        election = db.election("leader", 60)
        report_ready()
        await election.campaign(f"{name} {os.getpid()} 0")
        print(time.time_ns(), name, "leads", election.revision, flush=True)
        n = 0
        while True:
            n += 1
            await asyncio.sleep(random.random() * 0.005)
            await election.proclaim(f"{name} {os.getpid()} {n}")


def compare_followers(followed: list[Path]) -> list[tuple[str, list[int]]]:
    """Compare the changes of all followers. Return the name and the delays of each."""
    delays = []
    first: list[list[str]] = []
    for path in followed:
        lines = [line.split() for line in path.read_text().splitlines()]
        seen = [line[:3] for line in lines]
        revisions = [int(line[0]) for line in lines]
        if not seen or revisions != sorted(set(revisions)):
            sys.exit(f"{path.name} does not have each change once and in order")
        first = first or seen
        if seen != first:
            sys.exit(f"{path.name} differs from {followed[0].name}")
        delays.append((path.stem, [int(line[3]) for line in lines]))
    return delays


def check_leaders(store: str) -> int:
    """Check the events of the election: only the candidate with the first key may proclaim."""
    queue: dict[bytes, int] = {}
    leaders = []
    with libkv.open(store, create=False) as db:
        for event in db.events(0, prefix="leader/"):
            kv = event.kv
            if event.type == "delete":
                queue.pop(kv.key, None)
                continue
            queue.setdefault(kv.key, kv.create_revision)
            if kv.version > 1:
                if min(queue, key=queue.__getitem__) != kv.key:
                    sys.exit(f"{kv.value!r} proclaimed itself at revision {kv.mod_revision} but was not the leader")
                if not leaders or leaders[-1] != kv.create_revision:
                    leaders.append(kv.create_revision)
    if leaders != sorted(set(leaders)):
        sys.exit("a former leader led again, or the fencing revisions did not grow")
    return len(leaders)


def check(store: str, killed: Path, followed: list[Path]) -> None:
    rows = [(f"{name}: delay of a change", delays) for name, delays in compare_followers(followed)]
    leaders = check_leaders(store)
    gaps = [int(line) for line in killed.read_text().split()]
    rows.append(("new leader after a kill", gaps))
    print(f"{'':26}{'times':>7}{'median':>11}{'worst':>11}")
    for what, times in rows:
        print(f"{what:26}{len(times):7}{statistics.median(times) / 1e6:8.2f} ms{max(times) / 1e6:8.2f} ms")
    print(f"{leaders} leaders, one at a time; each follower got each change once, in order")


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
