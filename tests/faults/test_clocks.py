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


@pytest.mark.timeout(300)
@pytest.mark.fault("clocks two hours apart; stepping", "no false expiry, no early start")
def test_wrong_clocks_expire_nothing_and_start_nothing_early(site, row, tmp_path):
    library = wrong_clock()
    if library is None:
        pytest.skip("there is no libfaketime here: `apt-get install faketime`")
    stepping = tmp_path / "clock"
    stepping.write_text("+2h")
    with site(worker_processes=3, slots=6) as running:
        plain = dict(running.env)
        faked = {"LD_PRELOAD": str(library), "DONT_FAKE_MONOTONIC": "1"}
        running.kill_group("worker")
        running.kill_group("dispatcher")
        running.env = plain | faked | {"FAKETIME_TIMESTAMP_FILE": str(stepping), "FAKETIME_NO_CACHE": "1"}
        running.start_worker()
        running.env = plain | faked | {"FAKETIME": "-2h"}
        running.start_dispatcher()
        running.env = plain
        year = ["date", "+%H"]
        shifted = subprocess.run(year, env=plain | faked | {"FAKETIME": "+2h"}, capture_output=True, text=True, check=True).stdout
        assert shifted != subprocess.run(year, capture_output=True, text=True, check=True).stdout, "the clock is not faked"
        running.manage("shell", "-v", "0", "-c", LATER)
        running.submitting(60, rate=5, params={"seconds": 1.0})
        for step in ("-2h", "+2h", "+0", "+2h"):
            time.sleep(3)
            stepping.write_text(step)
        running.await_clients()
        running.await_ends(61)
        early = running.one("SELECT count(*) FROM jobs_job WHERE started_at < run_at")
        row.seen = running.judge() | {
            "falsely_lost": int(running.one("SELECT count(*) FROM jobs_attempt WHERE state <> 'succeeded'")),
            "early": int(early),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["falsely_lost"] == row.seen["early"] == 0


LATER = """
from datetime import datetime, timedelta, UTC
from jobs import lifecycle
from jobs.lifecycle import Submission
lifecycle.submit(Submission(tool="fault.work", run_at=datetime.now(UTC) + timedelta(seconds=15)), by="t")
"""
