"""What a tool leaves for its next attempt, and the folder that it works in."""

import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from benchmarks.stack import Stack, wait_until
from jobs import checkpoints, execution, lifecycle, workdirs
from jobs.errors import Transient
from jobs.lifecycle import Usage
from jobs.models import Job
from jobs.retry import Again, Retry
from jobs.run_context import RunContext
from jobs.tools import tool
from tests.factories import BROKEN, admitted, running, submitted

SEEN: list[object] = []


@tool("test.leaves", retry=Retry(max=3, first=0, cap=0))
def leaves(job, what: str = "") -> None:
    """Leave what is asked for, and fail."""
    SEEN.append(job.checkpoint_data)
    for n in range(50):
        job.checkpoint({"step": n, "what": what, "api_key": "very-secret-value"})
    raise Transient("again")


@tool("test.folder", retry=Retry(max=0))
def folder(job, size: int = 0, pause: float = 0.0) -> str:
    """Use the folder, also in ways that make it hard to remove."""
    inner = job.workdir / "inner"
    inner.mkdir()
    (inner / "file").write_bytes(b"x" * size)
    inner.chmod(0o500)
    (job.workdir / "link").symlink_to("/")
    SEEN.append((job.workdir, stat.S_IMODE(job.workdir.stat().st_mode), stat.S_IMODE(job.workdir.parent.stat().st_mode)))
    until = time.monotonic() + pause
    while time.monotonic() < until:
        job.progress(1)
        time.sleep(0.02)
    return str(job.workdir)


@pytest.fixture(autouse=True)
def alone(settings, tmp_path):
    settings.JOBSITE_STAY = 0
    settings.JOBSITE_BEAT = 0.1
    settings.JOBSITE_WORKDIR = tmp_path / "work"
    SEEN.clear()
    yield
    execution._pulse.end()


def attempted(job):
    execution.answer(admitted(job).current_attempt_id, "default", 1000)
    return Job.objects.get(pk=job.id)


def context_of(run):
    return RunContext(run, threading.Event())


@pytest.mark.django_db(transaction=True)
def test_the_next_attempt_finds_the_latest_that_was_left_with_secrets_covered():
    job = attempted(attempted(submitted("test.leaves", params={"what": "x"})))
    assert SEEN == [None, {"step": 49, "what": "x", "api_key": "[masked]"}]
    assert job.checkpoint == SEEN[1]


@pytest.mark.django_db(transaction=True)
def test_it_is_stored_about_once_a_second_however_often_it_is_left(monkeypatch):
    written = []
    monkeypatch.setattr(checkpoints.lifecycle, "keep_checkpoint", lambda run, text: written.append(text) or True)
    run = running()
    left = checkpoints.Checkpoints(run)
    assert left.due_at == float("inf")
    for n in range(1000):
        left.put(n)
        if time.monotonic() >= left.due_at:
            left.keep()
    left.keep()
    left.keep()
    assert written == ["0", "999"]


@pytest.mark.django_db
def test_what_is_left_is_as_it_was_then_and_what_json_cannot_hold_is_made_storable():
    run = running()
    context = context_of(run)
    data = {"rows": [1], "odd": {1, 2}, 5: "a\x00b\ud800"}
    context.checkpoint(data)
    data["rows"].append("changed afterwards")
    context.checkpoints.keep()
    assert checkpoints.of(run.job.id) == {"rows": [1], "odd": [1, 2], "5": "a�b?"}


@pytest.mark.django_db
def test_an_attempt_that_was_given_up_leaves_nothing_any_more():
    run = running()
    context = context_of(run)
    context.checkpoint("mine")
    context.checkpoints.keep()
    lifecycle.fail(run, BROKEN, Again(delay=0, spends_retry=True), Usage(), actor="t")
    running(Job.objects.get(pk=run.job.id))
    context.checkpoint("too late")
    context.checkpoints.keep()
    assert checkpoints.of(run.job.id) == "mine"


@pytest.mark.django_db
@pytest.mark.parametrize("data", ["x" * 300_000, ["y" * 100] * 3000])
def test_one_that_is_too_large_is_refused_with_its_size(data):
    with pytest.raises(ValueError, match=r"at most 262144 bytes, this one \d{6}"):
        context_of(running()).checkpoint(data)


@pytest.mark.django_db
def test_a_retry_by_hand_goes_on_from_it_unless_the_params_are_others():
    run = running(submitted("test.leaves"))
    context = context_of(run)
    context.checkpoint([1])
    context.checkpoints.keep()
    lifecycle.cancel(run.job.id, by="t")
    lifecycle.stop(run, Usage(), actor="t")
    lifecycle.retry(run.job.id, by="t")
    assert checkpoints.of(run.job.id) == [1]
    lifecycle.cancel(run.job.id, by="t")
    lifecycle.retry(run.job.id, by="t", params={"what": "else"})
    assert checkpoints.of(run.job.id) is None


@pytest.mark.django_db(transaction=True)
def test_a_folder_is_for_this_user_only_and_goes_with_the_attempt():
    job = attempted(submitted("test.folder"))
    assert job.status == "completed"
    (path, mode, above), = SEEN  # fmt: skip
    assert (mode, above) == (0o700, 0o700)
    assert path == django_settings.JOBSITE_WORKDIR / django_settings.REDIS_PREFIX / str(job.attempts.get().id)
    assert not path.exists()
    assert Path("/").exists()


@pytest.mark.django_db(transaction=True)
def test_no_folder_is_made_unless_it_is_asked_for():
    attempted(submitted("test.add"))
    assert not django_settings.JOBSITE_WORKDIR.exists()


@pytest.mark.django_db
def test_the_sweep_removes_folders_of_attempts_that_run_no_longer_and_no_others():
    alive, dead = running(), running()
    kept, gone = (context_of(run).workdir for run in (alive, dead))
    (gone / "file").write_text("x")
    lifecycle.interrupt(dead, Usage(), actor="t")
    other = workdirs.root() / "not-ours"
    other.mkdir()
    assert workdirs.sweep() == 1
    assert (kept.exists(), gone.exists(), other.exists()) == (True, False, True)
    assert workdirs.sweep() == 0


@pytest.mark.timeout(300)
def test_with_real_workers_a_killed_child_leaves_its_work_and_no_folder(tmp_path):
    env = {"JOBSITE_TOOLS": "tests.jobs.partialtools", "JOBSITE_LEASE": "3", "JOBSITE_BEAT": "0.5", "JOBSITE_STAY": "0"}
    with Stack(worker_processes=2, slots=4, JOBSITE_WORKDIR=str(tmp_path / "work"), **env) as stack:
        site = tmp_path / "work" / stack.name

        def submit(job, *, tool, params=None, resources=None):
            wanted = f"lifecycle.Submission(id={job!r}, tool={tool!r}, params={params or {}!r}, resources={resources})"
            code = f"from jobs import lifecycle\nfrom jobs.limits import Resources\nlifecycle.submit({wanted}, by='t')"
            stack.manage("shell", "-v", "0", "-c", code)

        def ended(job):
            wait_until(f"{job} has ended", lambda: stack.one("SELECT finished_at FROM jobs_job WHERE id = %s", job), 60)
            return stack.query("SELECT status, reason, error_category, result, tool FROM jobs_job WHERE id = %s", job)[0]

        submit("killed", tool="partial.steps", params={"note": str(tmp_path / "note")})
        wait_until("its work is stored", lambda: stack.one("SELECT checkpoint IS NOT NULL FROM jobs_job WHERE id = 'killed'"))
        pid, path = (tmp_path / "note").read_text().split()
        assert Path(path).parent == site
        assert (Path(path) / "half").exists()
        os.kill(int(pid), signal.SIGKILL)
        status, _, _, result, _ = ended("killed")
        assert (status, result["structuredContent"]["found"]) == ("completed", ["first"])
        assert result["structuredContent"]["folder"] != path
        assert result["structuredContent"]["files"] == []

        submit("full", tool="partial.filler", params={"megabytes": 200}, resources="Resources(disk_mb=20)")
        status, reason, category, _, _ = ended("full")
        assert (status, category) == ("failed", "resource")
        assert "may hold 20 MB" in reason
        submit("fits", tool="partial.filler", params={"megabytes": 5}, resources="Resources(disk_mb=20)")
        assert ended("fits")[0] == "completed"

        submit("other", tool="partial.gives-up")
        status, _, _, result, name = ended("other")
        assert (status, name) == ("completed", "partial.takes-over")
        assert result["structuredContent"] == {"result": "took over, found None"}
        wait_until("no folder is left", lambda: not list(site.iterdir()), 40)
