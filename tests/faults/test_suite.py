"""The suite itself: a checker that finds what is broken, a proxy that breaks what it should."""

import contextlib
import datetime
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.faults.figures import DOCS, documented
from tests.faults.invariants import Facts, broken
from tests.faults.proxy import Proxy
from tests.faults.soak import ENOUGH, slope

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
GOOD = ("submit", None, "", "pending"), ("admit", 1, "pending", "pending"), ("start", 1, "pending", "running")
DONE = ("finish", 1, "running", "completed")


def job(**changed):
    plain = {"id": "a", "status": "completed", "gate": "open", "task_id": "key", "current_attempt_id": None, "result": None}
    counts = {"attempt_count": 1, "retry_count": 0, "loss_count": 0, "max_retries": 3}
    return plain | counts | {"dependency_policy": "fail"} | changed


def attempt(number=1, **changed):
    plain = {"id": number, "job_id": "a", "number": number, "state": "succeeded", "admitted_at": NOON, "finished_at": NOON}
    return plain | changed


JOB, ATTEMPT = job(), attempt()


def seen(events=(*GOOD, DONE), jobs=(JOB,), attempts=(ATTEMPT,), dependencies=(), history=(), **rest):
    rows = [
        {"id": place, "job_id": "a", "attempt_id": by, "verb": verb, "before": before, "after": after, "at": NOON}
        for place, (verb, by, before, after) in enumerate(events)
    ]
    return Facts(jobs=jobs, attempts=attempts, events=rows, dependencies=dependencies, history=history, **rest)


def test_a_life_without_a_fault_breaks_nothing():
    assert broken(seen()) == []


@pytest.mark.parametrize(
    ("number", "facts"),
    [
        (1, seen(history=[{"what": "acknowledged", "job": "gone"}])),
        (1, seen(jobs=(job(), job(id="b", status="pending")))),
        (1, seen(jobs=(job(), job(id="b")))),
        (2, seen(history=[{"what": "started", "job": "nobody", "attempt": 1}])),
        (2, seen(history=[{"what": "started", "job": "a", "attempt": 1}] * 2)),
        (3, seen(events=(*GOOD, DONE, DONE))),
        (3, seen(jobs=(job(result="2"),), history=[{"what": "ended", "job": "a", "attempt": 1}])),
        (4, seen(events=(*GOOD, ("finish", 2, "running", "completed")))),
        (4, seen(events=(*GOOD, ("lose", 1, "running", "pending"), DONE))),
        (4, seen(events=(*GOOD, ("admit", 2, "running", "running")))),
        (5, seen(attempts=(attempt(finished_at=None), attempt(2, finished_at=None)), slots=1)),
        (6, seen(dependencies=[{"job_id": "a", "parent_id": "p", "met_at": None}])),
        (7, seen(events=(*GOOD, ("cancel_requested", 1, "running", "running"), DONE))),
        (9, seen(jobs=(job(retry_count=1),))),
        (9, seen(jobs=(job(attempt_count=2),))),
        (9, seen(jobs=(job(loss_count=1),))),
        (9, seen(attempts=(attempt(number=2),))),
        (10, seen(events=GOOD)),
        (10, seen(events=(*GOOD[:2], DONE))),
        (10, seen(attempts=(attempt(state="lost"),))),
    ],
)
def test_the_checker_finds_each_kind_of_wrong(number, facts):
    assert any(what.startswith(f"{number}:") for what in broken(facts)), broken(facts)


@pytest.fixture
def echo(tmp_path):
    """A server that sends back what it gets, behind a proxy."""
    path = Path(tmp_path) / "echo"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer(link):
            with contextlib.suppress(OSError), link:
                while piece := link.recv(100):
                    link.sendall(piece)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with Proxy(path, delay=0.2) as proxy:
            yield proxy
        server.shutdown(socket.SHUT_RDWR)


def said_back(link):
    began = time.monotonic()
    link.sendall(b"hello")
    return link.recv(100), time.monotonic() - began


def test_a_proxy_passes_on_delays_falls_silent_and_resets(echo):
    with socket.create_connection(("127.0.0.1", echo.port), timeout=1) as link:
        assert said_back(link)[0] == b"hello"
        echo.set("slow")
        assert said_back(link)[1] >= 0.4  # both ways
        echo.set("silent")
        with pytest.raises(TimeoutError):
            said_back(link)
        echo.set("pass")
        assert link.recv(100) == b"hello"
        echo.set("reset")
        with pytest.raises(ConnectionError):
            said_back(link)
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", echo.port), timeout=1) as link:
        said_back(link)


def test_the_table_of_the_promise_has_every_row_and_no_other():
    """`python -m tests.faults.figures` writes it from what was seen."""
    tests = {f"{path.stem}::{name}" for path in Path(__file__).parent.glob("test_*.py") for name in ROW.findall(path.read_text())}
    rows = documented(DOCS.read_text())
    assert {line.rsplit("`", 2)[1] for line in rows.values()} == tests
    assert not [fault for fault, line in rows.items() if "| missed" in line]


ROW = re.compile(r"^@pytest\.mark\.fault\(.*?^def (test_\w+)", re.M | re.S)


def test_a_slope_is_of_lives_that_were_watched_long_enough():
    steady = [(1, 10.0 * n, 100 + n / 36) for n in range(ENOUGH)]  # ten seconds apart: 10 MB an hour
    brief = [(2, 10.0 * n, 50.0 * n) for n in range(ENOUGH - 1)]
    anew = [(3, 10.0 * n, 20 + n / 36) for n in range(ENOUGH)]  # begins low again, which is no shrinking
    assert slope(steady + brief) == slope(steady + anew) == 10.0
    assert slope(brief) is slope([]) is None
