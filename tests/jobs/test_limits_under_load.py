"""Limits under load: real dispatcher and workers, checked from what the tools themselves wrote down."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.stack import Stack, wait_until

pytestmark = pytest.mark.early

TOOL = '''
import os, time
from pathlib import Path
from jobs.tools import tool

@tool("load.mark")
def mark(path: str, seconds: float = 0.0) -> None:
    """Append when it began and ended, on the one clock of this machine."""
    began = time.monotonic()
    time.sleep(seconds)
    with open(path, "a") as log:
        log.write(f"{began} {time.monotonic()}\\n")
'''


@pytest.fixture
def stack(tmp_path):
    (tmp_path / "loadtools.py").write_text(TOOL)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    with Stack(worker_processes=2, slots=8, JOBSITE_TOOLS="loadtools", PYTHONPATH=path) as running:
        yield running


def shell(stack, *lines):
    """Run Python in a process of its own, as another client would; what it prints."""
    return stack.manage("shell", "-v", "0", "-c", "\n".join(["import time", "from jobs import lifecycle, steering", *lines]))


def submit(stack, number, params, **wanted):
    one = f"lifecycle.Submission(tool='load.mark', params={params!r}, **{wanted!r})"
    shell(stack, f"lifecycle.submit_many([{one} for _ in range({number})], by='t')")


def limit(stack, number):
    """When the change was asked for, and when it was acknowledged."""
    change = f"steering.limit('tool', 'load.mark', max_running={number}, per_minute=None, by='t')"
    return map(float, shell(stack, "print(time.monotonic())", change, "print(time.monotonic())").split())


def spans(log):
    return [tuple(map(float, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


def most_at_once(found):
    now = most = 0
    for _, step in sorted([(began, 1) for began, _ in found] + [(ended, -1) for _, ended in found]):
        now += step
        most = max(most, now)
    return most


def test_eight_clients_on_one_key_never_have_two_jobs_at_once(stack, tmp_path):
    log = tmp_path / "marks"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: submit(stack, 125, {"path": str(log)}, concurrency_key="k"), range(8)))
    wait_until("all have run", lambda: len(spans(log)) == 1000, 120)
    assert most_at_once(spans(log)) == 1


def test_a_limit_that_was_lowered_holds_from_the_moment_it_is_acknowledged(stack, tmp_path):
    log = tmp_path / "marks"
    submit(stack, 3000, {"path": str(log), "seconds": 0.02})  # more than can be done before the last change
    wait_until("some have run", lambda: len(spans(log)) > 20)
    _, acknowledged = limit(stack, 1)
    wait_until("more have run", lambda: sum(began > acknowledged for began, _ in spans(log)) > 40)
    asked, raised = limit(stack, 8)
    wait_until("many have run since", lambda: sum(began > raised for began, _ in spans(log)) > 40)
    found = spans(log)
    after = [span for span in found if acknowledged < span[0] < asked]
    running_then = [ended for began, ended in found if began <= acknowledged < ended]
    assert most_at_once(after) == 1
    # What was running when the change was acknowledged counts: nothing began beside it.
    assert all(began >= ended for began, _ in after for ended in running_then)
    assert most_at_once([span for span in found if span[0] > raised]) > 1


def test_room_that_is_given_is_used_within_a_second_of_the_change(stack, tmp_path):
    log = tmp_path / "marks"
    configure = "steering.configure({'max_concurrent_jobs': %d}, version=configuration.row().version, by='t')"
    shell(stack, "from jobs import configuration", configure % 0)
    submit(stack, 1, {"path": str(log)})
    wait_until("it waits", lambda: stack.one("SELECT count(*) FROM jobs_job WHERE status = 'pending'") == 1)
    shown = shell(stack, "from jobs import configuration", configure % 1, "print(time.monotonic())")
    wait_until("it has run", lambda: spans(log))
    assert spans(log)[0][0] - float(shown) < 1.0
