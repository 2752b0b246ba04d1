"""A process dies at every named point, one after the other; nothing is lost, nothing counts twice."""

import time

import pytest

from benchmarks.stack import wait_until
from jobs.failpoints import POINTS
from tests.faults.test_workers import NONE_LOST

CLIENT = {"submit.before_commit", "submit.after_commit", "cancel.before_commit"}
JOBS = 12

FAMILY = """
from jobs import lifecycle
from jobs.lifecycle import Submission
lifecycle.submit_many([Submission(tool="fault.work", id="{name}-parent"),
    Submission(tool="fault.work", id="{name}-child", depends_on=["{name}-parent"])], by="t")
"""
CANCEL = "from jobs import lifecycle; lifecycle.cancel('{job}', by='t')"


def armed(running, point, folder):
    return {"JOBSITE_FAILPOINTS": f"{point}=kill", "JOBSITE_FAILPOINTS_TAKEN": str(folder)}


def reached(folder, point):
    return (folder / point).exists()


def tended(running):
    """Start anew what has died, as a process manager does."""
    for name, start in (("dispatcher", running.start_dispatcher), ("worker", running.start_worker)):
        if name not in running.processes or running.processes[name].poll() is not None:
            running.processes.pop(name, None)
            start()


def drive(running, point, folder):
    """Everything that passes the point: jobs, a family, a cancel, a lost attempt, a stopped worker."""
    name = point.replace(".", "-").replace("_", "-")
    env, running.env = running.env, running.env | armed(running, point, folder)
    for process in ("dispatcher", "worker"):
        running.kill_group(process)
    running.start_dispatcher()
    running.start_worker()
    if point in CLIENT:
        client_dies(running, name)
    running.env = env
    running.submit(JOBS, prefix=name, params={"seconds": 0.3})
    running.manage("shell", "-v", "0", "-c", FAMILY.format(name=name))
    if point.startswith("lose"):
        running.submit(1, prefix=f"{name}-victim", params={"seconds": 5})
        wait_until("a job runs", running.running)
        attempt, job, pid = running.running()[0]
        running.kill(pid, job=job, attempt=attempt)
    if point.startswith("beat"):
        running.submit(1, prefix=f"{name}-long", params={"seconds": 3})
    if point.startswith("interrupt"):
        running.submit(1, prefix=f"{name}-long", params={"seconds": 60}, tool="fault.stops")
        wait_until(
            "it runs", lambda: running.one("SELECT count(*) FROM jobs_job WHERE tool = 'fault.stops' AND status = 'running'")
        )
        running.processes["worker"].terminate()


def client_dies(running, name):
    """At its point; another client says the same again."""
    if name.startswith("cancel"):
        running.submit(1, prefix=f"{name}-victim", params={"seconds": 5})
        job = running.history.entries("acknowledged")[-1]["job"]
        with pytest.raises(RuntimeError):
            running.manage("shell", "-v", "0", "-c", CANCEL.format(job=job))
        running.manage("shell", "-v", "0", "-c", CANCEL.format(job=job))
    else:
        with pytest.raises(RuntimeError):
            running.manage("shell", "-v", "0", "-c", FAMILY.format(name=f"{name}-died"))


@pytest.mark.timeout(600)
@pytest.mark.fault("crash at every named point", "all pass: 0/0/0")
def test_a_crash_at_any_named_point_loses_nothing(site, row, tmp_path, short):
    points = (
        ["admit.after", "ring.after", "start.after", "finish.before", "finish.after", "submit.after_commit"]
        if short
        else list(POINTS)
    )
    with site(worker_processes=2, slots=4, JOBSITE_GRACE="1") as running:
        for point in points:
            running.say(f"crash at {point}: {POINTS[point]}")
            drive(running, point, tmp_path)
            until = time.monotonic() + 60
            while running.one("SELECT count(*) FROM jobs_job WHERE finished_at IS NULL") or not reached(tmp_path, point):
                assert time.monotonic() < until, f"{point}: {running.states()}, reached: {reached(tmp_path, point)}"
                tended(running)
                time.sleep(0.2)
        row.seen = running.judge() | {"points": len(points)}
    assert NONE_LOST.items() <= row.seen.items()
