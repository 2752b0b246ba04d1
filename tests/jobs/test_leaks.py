"""What a job leaves behind is ended with it, and processes are replaced before they grow."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.stack import Stack, wait_until
from jobs import execution, resources
from jobs.models import Job
from jobs.tools import tool
from tests.factories import admitted, submitted
from tests.faults.bomb import BOMB

pytestmark = pytest.mark.early

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
"""


LEFT = []


@tool("test.litter")
def litter(path: str) -> None:
    """Start a daemon (forked twice, in a session of its own) and a plain child, and leave both."""
    subprocess.run([sys.executable, "-c", DAEMON, f"{path}/daemon"], check=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    LEFT.append(child)
    Path(f"{path}/child").write_text(str(child.pid))


@pytest.fixture
def adopting():
    resources.adopt_orphans()
    yield
    resources.ctypes.CDLL(None).prctl(resources._PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_daemons_and_children_of_a_job_end_with_it(tmp_path, settings, adopting):
    settings.JOBSITE_STAY = 30
    job = admitted(submitted("test.litter", params={"path": str(tmp_path)}))
    before = {process.pid for process in psutil.Process().children()}
    execution.answer(job.current_attempt_id, "default", 1000)
    execution._pulse.end()
    assert Job.objects.get(pk=job.id).status == "completed"
    until = time.monotonic() + 5
    while not (tmp_path / "daemon").exists() and time.monotonic() < until:
        time.sleep(0.01)
    LEFT.pop().wait(5)
    for name in ("daemon", "child"):
        assert not psutil.pid_exists(int((tmp_path / name).read_text())), name
    assert {process.pid for process in psutil.Process().children()} <= before


def test_what_ran_before_the_first_job_is_left_alone():
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        kept, resources.Meter.bystanders = resources.Meter.bystanders, frozenset(psutil.Process().children())
        resources.end_descendants()
        assert bystander.poll() is None
    finally:
        resources.Meter.bystanders = kept
        bystander.kill()
        bystander.wait()


def of_the_bomb(status):
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() == status and os.getsid(process.pid) not in {os.getsid(0), process.pid}:
                found.append(process)
    return found


def test_daemons_that_are_ever_new_processes_are_buried_while_the_job_runs_and_ended_after_it(adopting):
    before, resources.Meter.bystanders = resources.Meter.bystanders, frozenset(psutil.Process().children())
    own = subprocess.Popen(["false"])
    bomb = subprocess.Popen([sys.executable, "-c", BOMB])
    try:
        wait_until("some have died", lambda: len(of_the_bomb(psutil.STATUS_ZOMBIE)) > 20)
        dead = set(of_the_bomb(psutil.STATUS_ZOMBIE))
        meter = resources.Meter()
        meter._looked -= resources.TREE_EVERY
        meter.sample()
        assert dead.isdisjoint(of_the_bomb(psutil.STATUS_ZOMBIE))
        assert own.wait() == 1, "its end was taken from who waits for it"
        resources.end_descendants()
        assert set(psutil.Process().children()) <= resources.Meter.bystanders
    finally:
        bomb.wait()
        resources.Meter.bystanders = before


def test_worker_processes_are_replaced_and_no_job_is_lost_by_it():
    with Stack(worker_processes=2, slots=2, JOBSITE_CHILD_STAYS="1", JOBSITE_STAY="0") as stack:
        one = "lifecycle.submit(lifecycle.Submission(tool='codemap', params={'package': 'email'}), by='t')"
        stack.manage("shell", "-v", "0", "-c", f"from jobs import lifecycle\nfor _ in range(8): {one}")
        wait_until("all are done", lambda: stack.one("SELECT count(*) FROM jobs_job WHERE status = 'completed'") == 8, 120)
        assert stack.one("SELECT count(DISTINCT pid) FROM jobs_attempt") > 2
        assert stack.one("SELECT count(*) FROM jobs_attempt WHERE state <> 'succeeded'") == 0
