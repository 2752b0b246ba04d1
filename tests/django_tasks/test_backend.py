"""Django's tasks on our backend: the behaviours that django-tasks-db's own suite checks, and what is ours beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from jobs import admission, configuration, dispatcher, execution, lifecycle
from jobs.bundle import Bundle
from jobs.django_tasks import JobsiteBackend, framework, results
from jobs.django_tasks.framework import (
    InvalidTaskError,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from jobs.errors import Refused
from jobs.models import Event, Job
from jobs.receivers import Happened
from tests.api.steps import Caller, problem
from tests.django_tasks import tasks
from tests.factories import running, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "jobs.django_tasks.JobsiteBackend", "QUEUES": ["default", "mail"]}}


def worked_on(result: Any) -> Any:
    """As a worker does: one attempt. The result, read again."""
    bundle = Bundle([running(Job.objects.get(pk=result.id))], lifecycle.Child(worker="tests:1", pid=1, lease=30))
    execution.run_all(bundle)
    bundle.close(None)
    result.refresh()
    return result


@pytest.fixture
def sent() -> Iterator[list[tuple[str, Any, Any]]]:
    """Signals that were sent: (name, sender, result)."""
    seen: list[tuple[str, Any, Any]] = []
    ears = []
    for name, signal in (("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)):

        def ear(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            seen.append((name, sender, (task_result.id, task_result.status)))

        signal.connect(ear, weak=False)
        ears.append((signal, ear))
    yield seen
    for signal, ear in ears:
        signal.disconnect(ear)


def test_the_backend_is_ours_and_says_what_it_can() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, JobsiteBackend)
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert list(backend.check()) == []


@pytest.mark.parametrize("task", [tasks.noop, tasks.noop_async])
def test_a_task_that_is_enqueued_is_a_job_in_the_database(task: Any, sent: list[Any]) -> None:
    result = task.enqueue(1, two=3)
    assert (result.status, result.is_finished, result.attempts) == (TaskResultStatus.READY, False, 0)
    assert (result.args, result.kwargs) == ([1], {"two": 3})
    assert result.started_at is result.last_attempted_at is result.finished_at is None
    assert result.task == task
    with pytest.raises(ValueError, match="has not finished"):
        _ = result.return_value
    assert sent == [("enqueued", JobsiteBackend, (result.id, TaskResultStatus.READY))]
    job = Job.objects.get(pk=result.id)
    assert (job.kind, job.tool) == ("task", f"task.tests.django_tasks.tasks.{task.name}")
    assert Event.objects.get(job=job).actor == f"task:{task.name}"


def test_enqueue_and_get_result_work_from_async_code() -> None:
    result = async_to_sync(tasks.echo.aenqueue)("a")
    again = async_to_sync(tasks.echo.aget_result)(result.id)
    assert again == result
    worked_on(result)
    async_to_sync(again.arefresh)()
    assert again.return_value == "a"


def test_a_result_is_the_same_when_it_is_read_again() -> None:
    result = tasks.noop.enqueue()
    assert task_backends["default"].get_result(result.id) == result
    assert tasks.noop.get_result(result.id) == result


@pytest.mark.parametrize("name", ["123", "", "no such", "a" * 200, "\x00"])
def test_a_result_that_is_not_there_does_not_exist(name: str) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(name)


def test_a_job_that_is_no_task_is_no_result() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(submitted().id)


def test_a_result_of_another_task_is_a_mismatch() -> None:
    with pytest.raises(Exception, match="does not match"):
        tasks.meaning.get_result(tasks.noop.enqueue().id)


def test_a_task_that_ran_has_its_value_its_times_and_its_worker(sent: list[Any]) -> None:
    result = worked_on(tasks.meaning.enqueue())
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, 42, 1)
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.worker_ids == ["tests:1"]
    assert ("started", JobsiteBackend, (result.id, TaskResultStatus.RUNNING)) in sent


@pytest.mark.parametrize("value", [None, {"result": 1}, {"content": [], "isError": True}, [1, "2", None, True], "text", 0])
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    assert worked_on(tasks.echo.enqueue(value)).return_value == value


def test_async_tasks_run() -> None:
    assert worked_on(tasks.noop_async.enqueue()).return_value is None


def test_a_task_that_raises_has_failed_and_says_with_what() -> None:
    result = worked_on(tasks.fails.enqueue())
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "this task failed" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_an_exception_of_the_project_is_found_again() -> None:
    (error,) = worked_on(tasks.fails_oddly.enqueue()).errors
    assert error.exception_class is tasks.Odd


def test_a_task_that_leaves_has_failed() -> None:
    (error,) = worked_on(tasks.leaves.enqueue()).errors
    assert error.exception_class is SystemExit


def test_a_value_that_is_no_json_fails_the_task() -> None:
    result = worked_on(tasks.unstorable.enqueue())
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is TypeError


def test_arguments_that_are_no_json_are_refused() -> None:
    with pytest.raises((TypeError, Refused)):
        tasks.noop.enqueue(object())
    assert not Job.objects.exists()


def test_a_task_is_tried_again_by_its_own_policy_and_every_error_is_kept() -> None:
    result = tasks.fails_for_a_while.enqueue()
    for _ in range(3):
        Job.objects.filter(pk=result.id).update(gate="open")
        worked_on(result)
    assert (result.status, result.attempts, len(result.errors)) == (TaskResultStatus.FAILED, 3, 3)
    assert {error.exception_class for error in result.errors} == {ConnectionError}


def test_the_context_is_given_with_the_job_by_which_progress_is_reported() -> None:
    result = worked_on(tasks.own_id.enqueue())
    assert result.return_value == [result.id, 1, "RUNNING"]
    assert Job.objects.get(pk=result.id).message == "half"


def test_a_deferred_task_waits_for_its_time() -> None:
    later = timezone.now() + timedelta(hours=1)
    result = tasks.noop.using(run_after=later).enqueue()
    job = Job.objects.get(pk=result.id)
    assert (job.gate, job.run_at) == ("time", later)
    assert task_backends["default"].get_result(result.id).task.run_after == later
    dispatcher.once()
    assert Job.objects.get(pk=result.id).current_attempt_id is None


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(InvalidTaskError):
        tasks.noop.using(run_after=timezone.now().replace(tzinfo=None)).enqueue()


def test_a_greater_priority_goes_first() -> None:
    priorities = [0, -100, 100, 34, 33, -34, 67, 99]
    ids = {tasks.noop.using(priority=p).enqueue().id: (-p, n) for n, p in enumerate(priorities)}
    configuration.row()
    line = admission.next_jobs(configuration.limits(), admission.outlook()).ids
    ranked = list(Job.objects.order_by("rank").values_list("pk", flat=True))
    assert ranked == sorted(ids, key=lambda name: ids[name])
    assert list(line) == ranked[: len(line)]


@pytest.mark.parametrize(
    ("priority", "called"),
    [(-100, "low"), (-34, "low"), (-33, "medium"), (0, "medium"), (34, "high"), (66, "high"), (67, "critical")],
)
def test_priorities_have_our_names_too_and_keep_their_number(priority: int, called: str) -> None:
    result = tasks.noop.using(priority=priority).enqueue()
    assert Job.objects.get(pk=result.id).priority == called
    assert task_backends["default"].get_result(result.id).task.priority == priority


@pytest.mark.parametrize("priority", [101, -101, 1.5])
def test_a_priority_out_of_range_is_refused(priority: float) -> None:
    with pytest.raises(InvalidTaskError):
        tasks.noop.using(priority=priority)  # type: ignore[arg-type]


def test_a_queue_of_the_settings_is_kept_and_any_other_refused() -> None:
    assert Job.objects.get(pk=tasks.mail.enqueue("a@example.org").id).queue == "mail"
    assert Job.objects.get(pk=tasks.noop.using(queue_name="mail").enqueue().id).queue == "mail"
    with pytest.raises(InvalidTaskError):
        tasks.noop.using(queue_name="nobody")


def test_what_a_task_says_of_itself_holds_for_its_jobs() -> None:
    job = Job.objects.get(pk=tasks.mail.enqueue("a@example.org").id)
    assert job.timeout_ms == 7000
    assert configuration.rules()["tool", job.tool].max_running == 2


def test_enqueuing_does_not_wait_for_a_commit_and_is_rolled_back_with_its_transaction() -> None:
    with transaction.atomic():
        result = tasks.noop.enqueue()
        assert Job.objects.filter(pk=result.id).exists()
        transaction.set_rollback(True)
    assert not Job.objects.filter(pk=result.id).exists()


@pytest.mark.parametrize("path", ["subprocess.check_output", "tests.django_tasks.tasks.plain", "missing.module", "nothing"])
def test_what_is_no_task_is_never_called(path: str) -> None:
    result = tasks.noop.enqueue()
    Job.objects.filter(pk=result.id).update(params=Job.objects.get(pk=result.id).params | {"task": path})
    bundle = Bundle([running(Job.objects.get(pk=result.id))], lifecycle.Child(worker="tests:1", pid=1, lease=30))
    execution.run_all(bundle)
    bundle.close(None)
    job = Job.objects.get(pk=result.id)
    assert job.status == "failed"
    assert "task" in job.reason


def test_tasks_are_not_offered_to_who_has_a_token() -> None:
    caller = Caller()
    assert not [tool for tool in caller.get("/tools").json()["tools"] if tool["name"].startswith("task.")]
    refused = problem(caller.post("/jobs", {"toolName": tasks.noop.tool, "params": {}}))
    assert refused["type"].endswith("/unknown-tool")


def test_finished_is_sent_from_the_log_of_events_after_the_commit(sent: list[Any]) -> None:
    result = worked_on(tasks.meaning.enqueue())
    event = Event.objects.filter(job=result.id).latest("id")
    results.tell_finished(
        Happened(
            id=event.pk, kind="job.completed", job_id=result.id, tool=tasks.meaning.tool, project="", status="completed",
            reason="", actor="", attempt=None, at=event.at,
        )
    )  # fmt: skip
    assert sent[-1] == ("finished", JobsiteBackend, (result.id, TaskResultStatus.SUCCESSFUL))


def test_a_cancelled_task_has_failed_for_django() -> None:
    result = tasks.noop.enqueue()
    lifecycle.cancel(result.id, by="t")
    result.refresh()
    assert (result.status, result.errors) == (TaskResultStatus.FAILED, [])


def test_tasks_equal_themselves_after_using() -> None:
    assert tasks.noop.using(priority=0) == tasks.noop
    assert framework.Task in type(tasks.noop).__mro__
