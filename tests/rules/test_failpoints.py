import os
import re
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from jobs import failpoints
from jobs.failpoints import POINTS, Failpoint, failpoint

JOBS = Path(failpoints.__file__).parent
CALL = re.compile(r'failpoint\("([^"]+)"\)')


def test_every_point_that_is_listed_is_in_the_code_once_and_no_other_is():
    found = sorted(name for path in JOBS.rglob("*.py") for name in CALL.findall(path.read_text()))
    assert found == sorted(POINTS)


def test_a_point_that_is_off_costs_less_than_a_microsecond():
    assert min(timeit.repeat(lambda: failpoint("finish.before"), number=10_000, repeat=5)) < 0.01


def reached(action, **env):
    code = "from jobs.failpoints import failpoint; failpoint('finish.before'); print('on')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JOBSITE_FAILPOINTS": action} | env,
        cwd=JOBS.parent,
        capture_output=True,
        text=True,
    )


def test_a_point_kills_once_in_all_processes_together(tmp_path):
    taken = {"JOBSITE_FAILPOINTS_TAKEN": str(tmp_path)}
    assert [reached("finish.before=kill", **taken).returncode for _ in range(2)] == [-9, 0]


def test_a_point_raises_or_hangs_and_others_do_nothing():
    assert "Failpoint: finish.before" in reached("finish.before=raise").stderr
    assert reached("finish.before=sleep:0").stdout == "on\n"
    assert reached("start.before=kill").stdout == "on\n"


@pytest.mark.parametrize("text", ["finish.befor=kill", "nowhere=kill"])
def test_a_misspelt_point_is_refused_at_the_start(text):
    assert "is no point" in reached(text).stderr
    assert issubclass(Failpoint, Exception)
