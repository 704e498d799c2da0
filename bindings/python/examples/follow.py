"""One worker leads and counts; the others follow what it writes, and take over when it goes."""

import asyncio

import libkv.aio


async def work(db: libkv.aio.Db, name: str) -> None:
    """Stand for election, and lead for three steps."""
    election = db.election("leader", 5)
    await election.campaign(name)
    for step in range(3):
        await db.put("progress", f"{name} {step}")
    await election.resign()


async def main() -> None:
    """Run two workers, and follow them to the end of the second."""
    async with libkv.aio.open(":memory:") as db:
        watcher = db.watch("progress")
        workers = asyncio.gather(work(db, "ann"), work(db, "bob"))
        async for batch in watcher:
            for event in batch:
                print(event.kv.value.decode())
                if event.kv.value == b"bob 2":
                    watcher.cancel()
        await workers


asyncio.run(main())
