"""Clocks that are wrong: leases and schedules go by the database's."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.test_workers import NONE_LOST


def wrong_clock():
    """The library that fakes the time of a process; None where there is none."""
    if shutil.which("faketime") is None:
        return None
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def shifted(library, by):
    """The monotonic clock is shifted with it: libfaketime's `sleep` refuses to work when only one is."""
    return {"LD_PRELOAD": str(library), "FAKETIME": by}


def hour(env):
    return subprocess.run(["date", "+%H"], env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.timeout(300)
@pytest.mark.fault("clocks two hours apart; a worker comes back with another clock", "no false expiry, no early start")
def test_wrong_clocks_expire_nothing_and_start_nothing_early(site, row):
    library = wrong_clock()
    if library is None:
        pytest.skip("there is no libfaketime here: `apt-get install faketime`")
    with site(worker_processes=3, slots=6) as running:
        plain = dict(running.env)
        assert hour(plain | shifted(library, "+2h")) != hour(plain), "the clock is not shifted"
        for name in ("worker", "dispatcher"):
            running.kill_group(name)
        running.env = plain | shifted(library, "-2h")
        running.start_dispatcher()
        running.env = plain | shifted(library, "+2h")
        running.start_worker()
        running.env = plain
        running.manage("shell", "-v", "0", "-c", LATER)
        running.submitting(60, rate=5, params={"seconds": 1.0})
        time.sleep(6)
        running.processes["before"] = running.processes.pop("worker")
        running.env = plain | shifted(library, "-3h")
        running.start_worker()
        running.env = plain
        running.processes["before"].terminate()
        running.processes.pop("before").wait(60)
        running.await_clients()
        running.await_ends(61)
        row.seen = running.judge() | {
            "falsely_lost": int(running.one("SELECT count(*) FROM jobs_attempt WHERE state <> 'succeeded'")),
            "early": int(running.one("SELECT count(*) FROM jobs_job WHERE started_at < run_at")),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["falsely_lost"] == row.seen["early"] == 0


LATER = """
from datetime import datetime, timedelta, UTC
from jobs import lifecycle
from jobs.lifecycle import Submission
lifecycle.submit(Submission(tool="fault.work", run_at=datetime.now(UTC) + timedelta(seconds=15)), by="t")
"""
