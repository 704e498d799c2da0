"""One worker leads and counts; the next one leads when it resigns."""

import asyncio

import libkv.aio


async def work(db: libkv.aio.Db, name: str) -> None:
    """Campaign, and lead for three steps."""
    election = db.election("leader", 5)
    await election.campaign(name)
    for step in range(3):
        await db.put("progress", f"{name} {step}")
    await election.resign()


async def main() -> None:
    """Run two workers, and watch them until the second has finished."""
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
