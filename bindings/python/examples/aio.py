"""A hundred concurrent writes, then a scan."""

import asyncio

import libkv.aio


async def main() -> None:
    """Write and scan keys, then take jobs in transactions."""
    async with libkv.aio.open(":memory:") as db:
        await asyncio.gather(*(db.put(f"job/{number:03}", "waiting") for number in range(100)))
        async for kv in db.scan(prefix="job/", limit=2):
            print(kv.key.decode(), kv.value.decode())

        async def take(t: libkv.aio.Transaction) -> str:
            first = (await t.range(prefix="job/", limit=1))[0]
            await t.delete(first.key)
            return first.key.decode()

        taken = await asyncio.gather(*(db.transact(take) for _ in range(3)))
        print("taken:", *sorted(taken))


asyncio.run(main())
