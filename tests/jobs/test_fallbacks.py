"""A job that one tool gives up goes on as another."""

import pytest
from django.contrib.auth.models import User

from jobs import doctor, execution, lifecycle, schemas, tally, tools
from jobs.errors import InvalidRequest, Permanent
from jobs.models import Job
from jobs.retry import Again, Retry
from jobs.tools import tool
from tests.factories import admitted, failed, submitted

pytestmark = pytest.mark.django_db(transaction=True)


@tool("test.plan-a", fallback="test.plan-b", retry=Retry(max=1, first=0, cap=0))
def plan_a(how: str = "transient") -> dict[str, object]:
    """Fail as is asked for."""
    if how == "error":
        return {"isError": True, "content": [{"type": "text", "text": "A says no"}]}
    if how == "permanent":
        raise Permanent("A never")
    if how == "input":
        raise TypeError("A cannot read this")
    raise ConnectionError("A is away")


@tool("test.plan-b", fallback="test.plan-c", retry=Retry(max=0), timeout=7)
def plan_b(how: str) -> None:
    """Fail too."""
    raise Permanent("B never")


@tool("test.plan-c")
def plan_c(how: str) -> str:
    """Work."""
    return f"C did {how}"


@tool("test.strict", fallback="test.picky", retry=Retry(max=0))
def strict(n: int = 1) -> None:
    raise Permanent("not this")


@tool("test.picky")
def picky(other: str) -> None:
    """Take other params."""


@pytest.fixture(autouse=True)
def alone(settings):
    settings.JOBSITE_STAY = 0
    yield
    execution._pulse.end()


def attempted(job):
    """The job after one more attempt, by a child in this very process."""
    execution.answer(admitted(job).current_attempt_id, "default", 1000)
    return Job.objects.get(pk=job.id)


def test_when_the_retries_are_spent_the_next_tool_goes_on_and_the_chain_is_kept():
    job = attempted(submitted("test.plan-a", params={"how": "transient"}))
    assert (job.tool, job.status, job.retry_count, job.fallbacks) == ("test.plan-a", "pending", 1, [])
    lifecycle.open_due()
    job = attempted(job)
    assert (job.tool, job.status, job.retry_count, job.max_retries, job.timeout_ms) == ("test.plan-b", "pending", 0, 0, 7000)
    assert job.reason == "ConnectionError: A is away (all 1 retries are spent); goes on as test.plan-b"
    job = attempted(job)
    assert (job.tool, job.status) == ("test.plan-c", "pending")
    job = attempted(job)
    assert (job.status, job.result["structuredContent"]) == ("completed", {"result": "C did transient"})
    assert [(gave_up["toolName"], gave_up["errorClass"]) for gave_up in job.fallbacks] == [
        ("test.plan-a", "ConnectionError"),
        ("test.plan-b", "Permanent"),
    ]
    assert "A is away" in job.fallbacks[0]["reason"]
    assert [event.verb for event in job.events.order_by("id") if event.before != event.after] == [
        "submit", *["start", "fail"], *["start", "fall_back"] * 2, "start", "finish",
    ]  # fmt: skip
    assert list(doctor.examine()) == []
    assert tally.by_each()["tool"] == {"test.plan-c": 1}


@pytest.mark.parametrize("how", ["permanent", "error"])
def test_a_failure_that_no_try_would_mend_goes_to_the_next_tool_at_once(how):
    job = attempted(submitted("test.plan-a", params={"how": how}))
    assert (job.tool, job.status, job.result) == ("test.plan-b", "pending", None)
    assert f"A {'says no' if how == 'error' else 'never'}" in job.fallbacks[0]["reason"]


def test_input_that_is_at_fault_ends_the_job():
    job = attempted(submitted("test.plan-a", params={"how": "input"}))
    assert (job.tool, job.status, job.error_category, job.fallbacks) == ("test.plan-a", "failed", "invalid_input", [])


def test_a_fallback_that_cannot_take_the_params_leaves_the_job_failed_and_says_so():
    job = attempted(submitted("test.strict"))
    assert (job.tool, job.status, job.fallbacks) == ("test.strict", "failed", [])
    assert "Permanent: not this" in job.reason
    assert "test.picky cannot go on with it" in job.reason


def test_a_cancelled_job_does_not_go_on_as_another_tool():
    run = lifecycle.start(admitted(submitted("test.plan-a", params={"how": "permanent"})).current_attempt_id,
                          lifecycle.Child(worker="w", pid=1, lease=30))  # fmt: skip
    lifecycle.cancel(run.job.id, by="t")
    execution._pulse.end()
    assert lifecycle.stop(run, lifecycle.Usage(), actor="w").status == "cancelled"
    assert Job.objects.get(pk=run.job.id).tool == "test.plan-a"


def test_without_a_fallback_nothing_changes():
    assert failed(again=Again(delay=0, spends_retry=True)).status == "pending"
    assert Job.objects.get().fallbacks == []


def test_a_circle_of_fallbacks_is_refused_when_the_tool_is_registered():
    tool("test.circle-a", fallback="test.circle-b")(lambda: None)
    try:
        with pytest.raises(ValueError, match=r"test\.circle-b -> test\.circle-a -> test\.circle-b"):
            tool("test.circle-b", fallback="test.circle-a")(lambda: None)
        assert "test.circle-b" not in tools.names()
        with pytest.raises(ValueError, match="circle"):
            tool("test.self", fallback="test.self")(lambda: None)
        with pytest.raises(InvalidRequest, match=r"does not exist: 'test\.circle-b'"):
            submitted("test.circle-a")
    finally:
        tools._registry.pop("test.circle-a")
    assert not Job.objects.exists()


def test_the_page_and_the_api_show_who_gave_up_and_why(client):
    job = attempted(submitted("test.plan-a", params={"how": "permanent"}))
    (shown,) = schemas.task_job(job, []).model_dump(by_alias=True)["fallbacks"]
    assert (shown["toolName"], shown["errorCategory"], shown["attempt"]) == ("test.plan-a", "permanent", job.attempts.get().id)
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/jobs/{job.id}/").content.decode()
    assert "Given up before" in page
    assert "Permanent: A never (permanent failure: trying again would not help)" in page
