"""A store whose writer's lock another process holds; and stores of an own for each test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libkv
import pytest

WRITER = """
import sys, libkv
db = libkv.open(sys.argv[1])
print("ready", flush=True)
while True:
    db.txn(success=[libkv.Put(f"holder/{n}", bytes(500)) for n in range(500)])
"""


class Holder:
    """A process that was stopped while it held the writer's lock of the store in path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = [sys.executable, "-c", WRITER, str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"
        with libkv.open(path, create=False, read_only=True) as db:
            while True:
                os.kill(self.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
                if db.status().writer_pid == self.pid:
                    return
                os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def release(self) -> None:
        """Kill it: whoever waits gets the lock, and nothing of its last transaction is there."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Future:
    """What _submit() asks of a future."""

    def __init__(self) -> None:
        self.answer: Any = None

    def done(self) -> bool:
        return self.answer is not None

    def set_result(self, answer: Any) -> None:
        self.answer = answer

    set_exception = set_result


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    held = Holder(tmp_path / "held")
    try:
        yield held
    finally:
        held.release()
