import gzip
import json
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from jobs.builtin.replay import ReplayParams, replay
from jobs.builtin.wfformat import BrokenWorkflow, Task, bounds, read
from tests.builtin.test_codemap import Notebook

SHARED = settings.BASE_DIR.parent / "shared" / "data"
needs_recordings = pytest.mark.skipif(not SHARED.exists(), reason=f"the recorded workflows are not here ({SHARED})")


@needs_recordings
def test_bounds_agree_with_an_independent_computation_on_every_recorded_workflow():
    files = sorted((SHARED / "workflows").iterdir())
    command = [sys.executable, str(SHARED / "workflow_bounds.py"), "--json", *map(str, files)]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(rows) == len(files) > 5
    for row, file in zip(rows, files, strict=True):
        tasks = read(file)
        found = bounds(tasks, 5)
        assert (len(tasks), sum(len(t.parents) for t in tasks)) == (row["tasks"], row["edges"])
        assert found.lb2 == pytest.approx(row["lb2"], abs=0.01)
        assert found.graham == pytest.approx(row["gb"])


def test_parents_come_before_their_children_in_old_files_too(tmp_path):
    rows = [
        {"name": "c", "runtime": 1, "parents": ["b"]},
        {"name": "a", "runtime": 2, "children": ["b"]},
        {"name": "b", "runtime": 3},
    ]
    file = tmp_path / "old.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"workflow": {"jobs": rows}}).encode()))
    assert [(t.id, t.seconds) for t in read(file)] == [("a", 2), ("b", 3), ("c", 1)]


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", "{}", '{"workflow": {"tasks": [{"name": "a", "parents": ["b"]}, {"name": "b", "parents": ["a"]}]}}'],
)
def test_a_broken_file_is_a_clear_error(text, tmp_path):
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(BrokenWorkflow, match=r"broken\.json"):
        read(file)
    with pytest.raises(CommandError, match=r"broken\.json"):
        call_command("replay", str(file))


def test_bounds_of_a_fork_and_join_are_what_one_sees_by_eye():
    none = frozenset()
    fork = [Task(id="s", name="s", seconds=1, memory_bytes=0, cpu_percent=0, parents=none)]
    fork += [Task(id=str(n), name="w", seconds=2, memory_bytes=0, cpu_percent=0, parents=frozenset("s")) for n in range(4)]
    fork.append(Task(id="e", name="e", seconds=1, memory_bytes=0, cpu_percent=0, parents=frozenset("0123")))
    found = bounds(fork, 2)
    assert (found.critical_path, found.lb2) == (4, 6)


def test_a_replayed_task_takes_its_time_and_writes_its_line(tmp_path):
    log = tmp_path / "log"
    began = time.monotonic()
    replay(ReplayParams(task="t", seconds=0.3, memory_mb=5, log=str(log)), Notebook())
    assert 0.3 <= time.monotonic() - began < 1
    line = json.loads(log.read_text())
    assert line["task"] == "t"
    assert line["end"] - line["start"] >= 0.3


def test_a_log_may_not_be_written_just_anywhere():
    with pytest.raises(ValueError, match="must lie below"):
        ReplayParams(task="t", seconds=0, log="/etc/cron.d/x")
