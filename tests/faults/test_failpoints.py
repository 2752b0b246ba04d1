"""A process dies at every named point, one after the other; nothing is lost, nothing counts twice."""

import time

import pytest

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
# A child that waits for what is cancelled before its time.
DOOMED = """
from datetime import timedelta
from django.utils import timezone
from jobs import lifecycle
from jobs.lifecycle import Submission
parent, _ = lifecycle.submit_many([
    Submission(tool="fault.work", id="{name}-doomed", run_at=timezone.now() + timedelta(hours=1)),
    Submission(tool="fault.work", id="{name}-dependent", depends_on=["{name}-doomed"])], by="t")
lifecycle.cancel(parent.id, by="t")
"""
CANCEL = "from jobs import lifecycle; lifecycle.cancel('{job}', by='t')"


def armed(points, folder):
    return {"JOBSITE_FAILPOINTS": ",".join(f"{point}=kill" for point in points), "JOBSITE_FAILPOINTS_TAKEN": str(folder)}


def reached(folder):
    return {path.name for path in folder.iterdir()}


def tended(running):
    """Start anew what has died, as a process manager does."""
    for name, start in (("dispatcher", running.start_dispatcher), ("worker", running.start_worker)):
        if name not in running.processes or running.processes[name].poll() is not None:
            running.processes.pop(name, None)
            start()


def tended_until(running, what, holds):
    until = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < until, f"{what}: {running.states()}"
        tended(running)
        time.sleep(0.2)


def drive(running, points, folder):
    """Everything that passes these points: jobs, a family, a cancel, a lost attempt, a stopped worker."""
    name = points[0].replace(".", "-").replace("_", "-")
    running.env |= armed(points, folder)
    for process in ("dispatcher", "worker"):
        running.kill_group(process)
    running.start_dispatcher()
    running.start_worker()
    for point in sorted(CLIENT.intersection(points), reverse=True):  # no client lives while a point of submit is armed
        client_dies(running, f"{point.split('.')[0]}-{len(reached(folder))}", cancels=point.startswith("cancel"))
    running.submit(JOBS, prefix=name, params={"seconds": 0.3})
    running.manage("shell", "-v", "0", "-c", FAMILY.format(name=name))
    if named(points, "settle"):
        running.manage("shell", "-v", "0", "-c", DOOMED.format(name=name))
    if named(points, "lose"):
        running.submit(1, prefix=f"{name}-victim", tool="fault.stops", params={"seconds": 60})
        attempt, job, pid = begun(running, f"{name}-victim-0")
        running.kill(pid, job=job, attempt=attempt)
    if named(points, "beat"):
        running.submit(1, prefix=f"{name}-long", params={"seconds": 3})
    last = set(named(points, "interrupt"))
    tended_until(running, f"not reached of {points}", lambda: reached(folder) >= set(points) - last)
    if last:
        running.submit(1, prefix=f"{name}-stopped", tool="fault.stops", params={"seconds": 60})
        begun(running, f"{name}-stopped-0")
        running.processes["worker"].terminate()
    tended_until(running, "jobs have not ended", lambda: reached(folder) >= set(points) and not running.one(UNFINISHED))


RUNS = """
SELECT a.id, a.job_id, a.pid FROM jobs_attempt a JOIN jobs_job j ON j.current_attempt_id = a.id
WHERE a.state = 'running' AND task_id = %s
"""
UNFINISHED = "SELECT count(*) FROM jobs_job WHERE finished_at IS NULL"


def named(points, beginning):
    return [point for point in points if point.startswith(beginning)]


def begun(running, key):
    """(attempt, job, pid) of the job of this key, as soon as it runs."""
    sql = (
        "SELECT a.id, a.job_id, a.pid FROM jobs_attempt a JOIN jobs_job j ON j.current_attempt_id = a.id WHERE a.state = 'running'"
    )
    tended_until(running, f"{key} does not run", lambda: running.query(f"{sql} AND task_id = %s", key))
    return running.query(f"{sql} AND task_id = %s", key)[0]


def client_dies(running, name, *, cancels):
    """At its point; another client says the same again."""
    if cancels:
        running.submit(1, prefix=f"{name}-victim", tool="fault.stops", params={"seconds": 5})
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
    """One point after the other; in the short form all in one go, so that the crashes meet."""
    turns = [list(POINTS)] if short else [[point] for point in POINTS]
    with site(worker_processes=2, slots=4, JOBSITE_GRACE="1") as running:
        for points in turns:
            for point in points:
                running.say(f"crash at {point}: {POINTS[point]}")
            drive(running, points, tmp_path)
        row.seen = running.judge() | {"points": len(POINTS), "at_once": len(turns[0])}
    assert NONE_LOST.items() <= row.seen.items()
