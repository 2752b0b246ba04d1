"""Jobs that mean harm: they come to their end, their slot comes back, and nothing of them is left running."""

import contextlib
import time

import psutil
import pytest

from benchmarks.stack import wait_until
from tests.faults.bomb import BOMB
from tests.faults.test_workers import NONE_LOST

HOW_ENDED = """
SELECT task_id, CASE WHEN gate = 'quarantined' THEN gate ELSE status END, error_class
FROM jobs_job WHERE tool <> 'fault.work'
"""
LEFT = "sleep 600"


def programs(running):
    """What jobs have started and is still there."""
    found = []
    for process in running.ours():
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            found.append(" ".join(process.cmdline()))
    return [text for text in found if text == LEFT or BOMB in text]


def tended(running):
    """A worker that was killed is started anew."""
    if running.processes["worker"].poll() is not None:
        running.processes.pop("worker")
        running.start_worker()


@pytest.mark.timeout(300)
@pytest.mark.fault(
    "job that ignores cancel; endless loop; memory hog; fork bomb; kills its process or its worker at once",
    "cancelled, time-out, resource failure; slot back; third loss in a row = quarantined",
)
def test_jobs_that_mean_harm_end_and_give_their_slots_back(site, row):
    with site(worker_processes=6, slots=6, JOBSITE_GRACE="1") as running:
        for kind in ("ignores", "loops", "hogs", "forks", "dies"):
            running.submitting(1, tool=f"fault.{kind}", prefix=kind)
        running.await_clients()
        wait_until(
            "it runs", lambda: running.one("SELECT count(*) FROM jobs_job WHERE task_id = 'ignores-0' AND status = 'running'")
        )
        job = running.one("SELECT id FROM jobs_job WHERE task_id = 'ignores-0'")
        asked = time.monotonic()
        running.manage("shell", "-v", "0", "-c", f"from jobs import lifecycle; lifecycle.cancel('{job}', by='t')")
        wait_until("it is cancelled", lambda: running.one("SELECT status FROM jobs_job WHERE id = %s", job) == "cancelled")
        row.seen["cancelled_after_s"] = round(time.monotonic() - asked, 1)
        running.await_ends(5, 90)
        running.submit(1, tool="fault.dies", prefix="worker", params={"worker": True})
        until = time.monotonic() + 90
        while running.ended() < 6:
            assert time.monotonic() < until, running.query(HOW_ENDED)
            tended(running)
            time.sleep(0.1)
        tended(running)
        wait_until("nothing of them is left", lambda: not programs(running), 20)
        began = time.monotonic()
        running.submit(12, prefix="after", params={"seconds": 0.1})
        running.await_ends(18, 60)
        ended = {key.removesuffix("-0"): f"{status} {error}".strip() for key, status, error in running.query(HOW_ENDED)}
        row.seen |= running.judge() | ended | {"slots_back_after_s": round(time.monotonic() - began, 1)}
    assert NONE_LOST.items() <= row.seen.items()
    assert {name: word.split()[0] for name, word in ended.items()} == {
        "ignores": "cancelled",
        "loops": "failed",
        "hogs": "failed",
        "forks": "failed",
        "dies": "quarantined",
        "worker": "quarantined",
    }
    assert (ended["loops"], ended["hogs"]) == ("failed TimedOut", "failed OverMemory")
    assert ended["forks"].split()[1] in {"TimedOut", "OverMemory"}
    assert row.seen["cancelled_after_s"] <= 8


@pytest.mark.timeout(200)
@pytest.mark.fault("process killed -9 whose job had started a program", "the program ends too")
def test_what_a_killed_job_had_started_is_ended(site, row):
    with site(worker_processes=2, slots=2) as running:
        running.submit(1, tool="fault.litters", params={"seconds": 5})
        wait_until("its program runs", lambda: programs(running))
        ((attempt, job, pid),) = running.running()
        running.kill(pid, job=job, attempt=attempt)
        began = time.monotonic()
        wait_until("its program is ended", lambda: not programs(running), 30)
        row.seen["ended_after_s"] = round(time.monotonic() - began, 1)
        running.await_ends(1)
        wait_until("the second one's is, too", lambda: not programs(running), 30)
        row.seen |= running.judge()
    assert NONE_LOST.items() <= row.seen.items()
