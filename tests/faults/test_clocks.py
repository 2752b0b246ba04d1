"""Clocks that are wrong, and that are set while everything runs: leases and schedules go by the database's."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from benchmarks.stack import wait_until
from tests.faults.test_hostile import programs
from tests.faults.test_workers import NONE_LOST

SOURCE = Path(__file__).with_name("wallclock.c")
HOUR = 3600


class Clock:
    """The wall clock of the processes that are started with its `env`: it can be set at any time."""

    def __init__(self, library, path, hours):
        self._path = path
        self.env = {"LD_PRELOAD": str(library), "WALLCLOCK_OFFSET": str(path)}
        path.write_bytes(bytes(8))
        self.set(hours)

    def set(self, hours):
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", hours * HOUR))

    def seconds(self):
        return int(subprocess.run(["date", "+%s"], env=self.env, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here: `apt-get install gcc libc6-dev`")
    made = tmp_path_factory.mktemp("clock") / "wallclock.so"
    subprocess.run([compiler, "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", made, SOURCE], check=True)
    return made


@pytest.mark.timeout(300)
@pytest.mark.fault("clocks two hours apart, and set forward and back while jobs run", "no false expiry, no early start")
def test_wrong_clocks_expire_nothing_and_start_nothing_early(site, row, library, tmp_path, short):
    each = 6 if short else 15  # jobs between two settings
    ahead, behind = Clock(library, tmp_path / "ahead", 2), Clock(library, tmp_path / "behind", -2)
    assert abs(ahead.seconds() - behind.seconds() - 4 * HOUR) < 5, "the clocks are not apart"
    with site(worker_processes=3, slots=6) as running:
        plain = dict(running.env)
        for name, clock, start in (
            ("dispatcher", behind, running.start_dispatcher),
            ("worker", ahead, running.start_worker),
        ):
            running.kill_group(name)
            running.env = plain | clock.env
            start()
        running.env = plain
        running.manage("shell", "-v", "0", "-c", LATER)
        running.submitting(4 * each, rate=5, params={"seconds": 1.0})
        running.submitting(3, rate=0.5, tool="fault.litters", prefix="litter", params={"seconds": 0.5})
        steps = [(ahead, -3), (behind, 5), (ahead, 4), (behind, -1)]
        for number, (clock, hours) in enumerate(steps, 1):
            wait_until("jobs have ended meanwhile", lambda number=number: running.ended() >= (each - 2) * number)
            clock.set(hours)
        running.await_clients()
        running.await_ends(4 * each + 4)
        wait_until("what jobs left behind is ended", lambda: not programs(running), 20)
        row.seen = running.judge() | {
            "clocks_set": len(steps),
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
