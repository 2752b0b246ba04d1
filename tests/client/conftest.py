"""One running Jobsite for all tests of the client, and roads to it that lose things."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.stack import ROOT, Stack, wait_until
from jobsite_client import Client

TOOLS = '''
import time
from pathlib import Path
from jobs.errors import Permanent
from jobs.tools import JobContext, tool

@tool("door.until")
def until(job: JobContext, path: str, rude: bool = False) -> str:
    """Report progress until a file is there."""
    tick = 0
    while not Path(path).exists():
        tick += 1
        job.progress(min(90, tick), f"tick {tick}" + ("\\x1b[31mred\\x07" if rude else ""), stage="waiting")
        time.sleep(0.05)
    job.diagnostic("seen")
    return "there"

@tool("door.lines")
def lines(job: JobContext, count: int) -> None:
    """Write lines."""
    for number in range(count):
        job.diagnostic(f"line {number}")
        job.progress(100 * number / count)

@tool("door.echo")
def echo(text: str, number: int | float | list[int] | None = None) -> dict[str, object]:
    """Give back what was given."""
    return {"text": text, "number": number}

@tool("door.fail")
def fail(message: str = "no such thing") -> None:
    """Fail for good."""
    raise Permanent(message)
'''


class Door:
    """A running Jobsite and a token for it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.url = stack.address
        self.token = stack.manage("token", "create", "--name", "client", "--scope", "admin").split()[-1]

    def jobs(self) -> int:
        return int(str(self.stack.one("SELECT count(*) FROM jobs_job")))

    def status(self, job_id: str) -> str:
        return str(self.stack.one("SELECT status FROM jobs_job WHERE id = %s", job_id))

    def until_final(self, job_id: str) -> str:
        """Wait at the database, beside the client; the final status."""
        wait_until(f"{job_id} is final", lambda: self.status(job_id) in ("completed", "failed", "cancelled"))
        return self.status(job_id)

    def until_running(self, job_id: str) -> None:
        wait_until(f"{job_id} runs", lambda: self.status(job_id) == "running")


@pytest.fixture(scope="package")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "doortools.py").write_text(TOOLS)
    path = os.pathsep.join([str(tools), str(ROOT)])
    with Stack(web=True, worker_processes=2, slots=5, JOBSITE_TOOLS="doortools", PYTHONPATH=path) as stack:
        yield Door(stack)


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    with Client(door.url, door.token) as client:
        yield client


@pytest.fixture
def until(tmp_path: Path) -> Iterator[Path]:
    """The file that `door.until` waits for; it appears at the latest when the test is over."""
    path = tmp_path / "go"
    yield path
    path.touch()


@contextmanager
def losing_answers(port: int, *, losses: int) -> Iterator[str]:
    """The address of a road on which requests arrive, and the first `losses` answers get lost."""
    road = socket.create_server(("127.0.0.1", 0))
    left = [losses]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        # A request comes in pieces: its head, then its body.
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                sink.sendall(data)

    def carry(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            answer = far.recv(1 << 20)
            if left[0] > 0:
                left[0] -= 1
            else:
                near.sendall(answer)
                pump(far, near)
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                near, _ = road.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(near,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{road.getsockname()[1]}"
    finally:
        road.close()
