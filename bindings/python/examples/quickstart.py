"""Two revisions of one key."""

import libkv

with libkv.open(":memory:") as db:  # or the path of a directory
    db.put("greeting", "hello")
    db.put("greeting", "goodbye")
    for revision in (2, 3):  # 1 is the empty store, each write adds 1
        if kv := db.get("greeting", revision=revision):
            print(f"revision {revision}: {kv.value.decode()}")
