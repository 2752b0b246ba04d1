"""`manage.py events` as a real process beside real workers: killed, doubled and taken over, it loses nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.stack import Stack, stopped, wait_until
from tests.events.receiver import Receiver, receiving

SUBMIT = """
from jobs import lifecycle
from jobs.lifecycle import Submission
print(",".join(lifecycle.submit(Submission(tool="test.add", params={}), by="tests").id for _ in range(%d)))
"""
MAKE = "from jobs import webhooks; webhooks.make(%r, webhooks.About(), by='tests')"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as found:
        yield found


@pytest.fixture
def stack(tmp_path: Path, receiver: Receiver) -> Iterator[Stack]:
    env = receiver.env | {"TOLD_IN": str(tmp_path), "JOBSITE_TOOLS": "tests.events.told,tests.factories"}
    with Stack(worker_processes=1, **env) as running:
        start(running, "events")
        yield running


def start(stack: Stack, name: str) -> None:
    stack.start(name, [sys.executable, "manage.py", "events"])
    place = "SELECT count(*) FROM jobs_subscription WHERE name IN ('tests.told', 'jobs.webhooks')"
    wait_until(f"{name} has its places in the log", lambda: stack.one(place) == 2)


def submit(stack: Stack, count: int) -> list[str]:
    return stack.manage("shell", "--verbosity", "0", "-c", SUBMIT % count).strip().splitlines()[-1].split(",")


def told(folder: Path) -> list[str]:
    return (folder / "told").read_text().splitlines() if (folder / "told").exists() else []


def test_events_reach_receivers_and_webhooks_also_when_the_process_is_killed_in_the_middle(
    stack: Stack, receiver: Receiver, tmp_path: Path
) -> None:
    stack.manage("shell", "--verbosity", "0", "-c", MAKE % receiver.url)
    first = submit(stack, 3)
    wait_until("the first are told", lambda: len(told(tmp_path)) == 3)
    wait_until("and delivered", lambda: stack.one("SELECT count(*) FROM jobs_delivery WHERE phase = 'delivered'") == 3)
    # It dies in a receiver, after the call and before it could note that it was told.
    (tmp_path / "die").touch()
    second = submit(stack, 3)
    wait_until("it is dead", lambda: stack.processes["events"].poll() == 9)
    start(stack, "successor")
    wait_until("all are told", lambda: {line.split()[1] for line in told(tmp_path)} == {*first, *second})
    wait_until("and delivered", lambda: stack.one("SELECT count(*) FROM jobs_delivery WHERE phase = 'delivered'") == 6)
    lines = told(tmp_path)
    assert len(lines) == 7, "the one in whose call it died is told again, with its id, and no other"
    assert len(set(lines)) == 6
    assert [int(line.split()[0]) for line in dict.fromkeys(lines)] == sorted(int(line.split()[0]) for line in set(lines))
    assert {request.headers["Webhook-Id"] for request in receiver.received} == {
        f"msg_{row[0]}" for row in stack.query("SELECT id FROM jobs_delivery")
    }


def test_of_two_processes_one_tells_and_the_other_takes_over(stack: Stack, tmp_path: Path) -> None:
    start(stack, "standby")
    first = submit(stack, 3)
    wait_until("the first are told", lambda: len(told(tmp_path)) >= 3)
    os.kill(stack.processes["events"].pid, signal.SIGKILL)
    second = submit(stack, 3)
    wait_until("all are told", lambda: {line.split()[1] for line in told(tmp_path)} == {*first, *second})
    stopped(stack.processes.pop("standby"))
    assert len(told(tmp_path)) == 6
