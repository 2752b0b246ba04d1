"""A project's own Celery tasks as tools, run by real workers."""

import os

import pytest
from celery import shared_task

from benchmarks.stack import ROOT, Stack, wait_until
from jobs import tools
from jobs.celery_functions import celery_tool

TASKS = '''
from pathlib import Path
from celery import shared_task
from celery.exceptions import Ignore, Reject
from jobs.celery_functions import celery_tool
from jobs.manager import job_manager
from jobs.retry import Retry

@shared_task
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b

@shared_task(bind=True)
def flaky(self, path: str) -> str:
    """Fail the first time, as Celery tasks say it."""
    seen = Path(path)
    if not seen.exists():
        seen.touch()
        raise self.retry(countdown=3600)
    return "at last"

@shared_task(autoretry_for=(ConnectionError,), max_retries=5)
def fetch(path: str) -> str:
    """Fail the first time with an error that Celery would try again."""
    seen = Path(path)
    if not seen.exists():
        seen.touch()
        raise ConnectionError("reset by peer")
    return "fetched"

@shared_task
def reject() -> None:
    """Never again."""
    raise Reject("no use", requeue=False)

@shared_task
def ignore() -> None:
    """Nothing to tell."""
    raise Ignore()

@shared_task
def slow(job) -> str:
    """Report progress."""
    job.progress(50, "half way", stage="work")
    # As tools of old do it, which know the job by its id alone.
    assert job_manager.update_job_progress(job.id, 70, "on the way", diagnostics=["a line"])
    return job.id

soon = Retry(max=2, first=0.01, cap=0.01)
for task in (add, flaky, fetch, reject, ignore, slow):
    celery_tool(f"old.{task.__name__}", task, retry=soon)
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    place = tmp_path_factory.mktemp("project")
    (place / "projecttasks.py").write_text(TASKS)
    path = os.pathsep.join([str(place), str(ROOT)])
    with Stack(JOBSITE_TOOLS="projecttasks", PYTHONPATH=path) as stack:
        yield stack


def test_celery_tasks_run_as_jobs(stack, tmp_path):
    wanted = [
        ("old.add", {"a": 1}),
        ("old.flaky", {"path": str(tmp_path / "flaky")}),
        ("old.fetch", {"path": str(tmp_path / "fetch")}),
        ("old.reject", {}),
        ("old.ignore", {}),
        ("old.slow", {}),
    ]
    stack.manage("shell", "-v", "0", "-c", f"""
from jobs import lifecycle
lifecycle.submit_many([lifecycle.Submission(tool=t, params=p, id=t) for t, p in {wanted!r}], by="t")
""")  # fmt: skip
    wait_until("all are final", lambda: stack.one("SELECT count(*) FROM jobs_job WHERE finished_at IS NOT NULL") == len(wanted))
    rows = stack.query("SELECT id, status, retry_count, result #>> '{structuredContent,result}' FROM jobs_job")
    found = {job_id: rest for job_id, *rest in rows}
    assert found["old.add"] == ["completed", 0, "3"]
    assert found["old.flaky"] == ["completed", 1, "at last"]
    assert found["old.fetch"] == ["completed", 1, "fetched"]
    assert found["old.reject"] == ["failed", 0, None]
    assert found["old.ignore"] == ["completed", 0, None]
    assert found["old.slow"] == ["completed", 0, "old.slow"]
    told = stack.query("SELECT message, stage, diagnostics FROM jobs_job WHERE id = 'old.slow'")
    assert told == [("on the way", "work", ["a line"])]
    assert "no use" in str(stack.one("SELECT reason FROM jobs_job WHERE id = 'old.reject'"))


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(tools, "_registry", {})


def test_the_schema_comes_from_the_signature_and_the_time_out_from_the_task(registry):
    @shared_task(bind=True, soft_time_limit=7)
    def report(self, year: int, kind: str = "short") -> None:
        """Send a report."""

    celery_tool("report", report)
    made = tools.get("report")
    schema = made.params.model_json_schema()
    assert schema["required"] == ["year"]
    assert schema["properties"]["kind"] == {"default": "short", "title": "Kind", "type": "string"}
    assert (made.timeout_ms, made.description) == (7000, "Send a report.")


def test_options_of_a_tool_win(registry):
    @shared_task(time_limit=7)
    def letter() -> None:
        """Send a letter."""

    celery_tool("letter", letter, timeout=60, queue="mail", max_running=1)
    made = tools.get("letter")
    assert (made.timeout_ms, made.queue, made.rule.max_running) == (60_000, "mail", 1)


def test_parameters_without_names_are_refused(registry):
    @shared_task
    def anything(*args: int) -> None:
        """Take what comes."""

    with pytest.raises(ValueError, match="only parameters with names"):
        celery_tool("anything", anything)


def test_called_by_celery_it_is_what_it_was(registry):
    @shared_task
    def double(number: int) -> int:
        """Twice."""
        return 2 * number

    celery_tool("double", double)
    assert double(4) == 8
    assert double.apply((5,)).get() == 10
