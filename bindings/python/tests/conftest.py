"""Stores for each test, and a store whose write lock another process holds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
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
    """A process that was stopped while it held the write lock of the store in path."""

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
        """Kill it: a waiting writer gets the lock, and its last transaction has no effect."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Future:
    """The methods of a future that _submit() uses."""

    def __init__(self) -> None:
        self.response: Any = None

    def done(self) -> bool:
        return self.response is not None

    def set_result(self, response: Any) -> None:
        self.response = response

    set_exception = set_result


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    held = Holder(tmp_path / "held")
    try:
        yield held
    finally:
        held.release()


class Gate:
    """A proxy to a server. While it is shut, it holds all data back."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").rsplit(":", 1)
        self.to = (host, int(port))
        self.passable = threading.Event()
        self.passable.set()
        self.waiting = threading.Event()
        """Set while the proxy is shut and has data to forward."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = [self.listener]
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.to)
                self.sockets += [near, far]
                for ways in ((near, far), (far, near)):
                    threading.Thread(target=self.pass_on, args=ways, daemon=True).start()

    def pass_on(self, come: socket.socket, go: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := come.recv(65_536):
                if not self.passable.is_set():
                    self.waiting.set()
                self.passable.wait()
                go.sendall(data)
            go.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        self.waiting.clear()
        self.passable.clear()

    def end(self) -> None:
        self.passable.set()
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def gate(kv_server: libkv.Server) -> Iterator[Gate]:
    """A proxy to kv_server."""
    gate = Gate(kv_server.address)
    try:
        yield gate
    finally:
        gate.end()
