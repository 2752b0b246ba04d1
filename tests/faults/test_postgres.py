"""PostgreSQL is restarted without a farewell, or has no room left on its disk."""

import subprocess
import time

import pytest

from benchmarks.stack import wait_until
from tests.faults.test_workers import NONE_LOST


def outcomes(history):
    """Keys whose outcome was unknown at first."""
    return {entry["key"] for entry in history.entries("unknown")}


@pytest.mark.timeout(400)
@pytest.mark.fault("PostgreSQL restarted (immediate) every 10 s under load", "0/0/0; an unknown outcome is 0 or 1 rows for its key")
def test_a_database_that_is_restarted_under_load_loses_nothing(site, row, short):
    restarts, pause = (3, 3) if short else (6, 10)
    count = restarts * (pause + 2) * 10
    with site(postgres=True, worker_processes=3, slots=6) as running:
        running.submitting(count, rate=10, params={"seconds": 0.2})
        for number in range(restarts):
            time.sleep(pause)
            running.servers.kill_postgres()
            running.servers.start_postgres()
            running.say(f"restart {number + 1} of {restarts}: {running.states()}")
        running.await_clients()
        began = time.monotonic()
        running.await_ends(count)
        unknown = outcomes(running.history)
        of_key = dict(running.query("SELECT task_id, count(*) FROM jobs_job GROUP BY 1"))
        row.seen = running.judge() | {
            "restarts": restarts,
            "unknown_outcomes": len(unknown),
            "most_rows_of_a_key": max(of_key.values()),
            "drained_after_s": round(time.monotonic() - began, 1),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["most_rows_of_a_key"] == 1
    assert len(of_key) == count


@pytest.mark.timeout(300)
@pytest.mark.long
@pytest.mark.fault("disk full for the database", "clear error; resumes when space is back; nothing lost")
def test_a_full_disk_is_said_clearly_and_outlived(site, row):
    try:
        running = site(postgres=True, disk_mb=300, worker_processes=2, slots=4)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error.stderr.decode().strip()}")
    with running:
        running.submit(20, params={"seconds": 0.05})
        running.await_ends(20)
        running.servers.fill_disk()
        running.submitting(3000, prefix="full")
        wait_until("a submit fails", lambda: running.history.count("unknown") > 3, 60)
        errors = {entry["error"] for entry in running.history.entries("unknown")}
        running.servers.free_disk()
        ended = running.servers.postgres_ended()
        if ended:
            running.servers.start_postgres()  # as a process manager does
        running.await_clients()
        running.await_ends(3020)
        row.seen = running.judge() | {"errors": " ".join(sorted(errors)), "database_ended_itself": ended}
    assert NONE_LOST.items() <= row.seen.items()
    assert "DiskFull" in errors
