"""One table of vicious JSON against every door: refused where it comes in, made storable where a tool says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import shared_task
from django.conf import settings as django_settings

from jobs import catalog, execution, lifecycle, tokens
from jobs.celery_functions import celery_tool
from jobs.errors import Refused
from jobs.lifecycle import Submission
from jobs.manager import JobManager
from jobs.models import Job
from jobs.retry import Retry
from jobs.tools import tool
from tests.api.steps import Caller, rows, signed_in
from tests.django_tasks.tasks import task
from tests.factories import admit, admitted, submitted
from tests.mcp.test_door import REVISION, Agent

DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]
LARGE = "x" * (9 * 1024 * 1024)
# As JSON text, and as the Python value that it stands for, where it stands for one.
TEXTS = {
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "beyond every float": "1e999",
    "65 bits": str(2**65),
    "NUL": '"a\\u0000b"',
    "half a pair": '"\\ud800"',
    "NUL in a key": '{"\\u0000": 1}',
    "a key twice": '{"k": 1, "k": 2}',
    "100 levels": json.dumps(DEEP),
    "10,000 levels": "[" * 10_000 + "]" * 10_000,
    "9 MB": json.dumps(LARGE),
}
VALUES = {
    "NaN": float("nan"),
    "Infinity": float("-inf"),
    "65 bits": 2**65,
    "NUL": "a\x00b",
    "half a pair": "\ud800",
    "NUL in a key": {"\x00": 1},
    "100 levels": DEEP,
    "9 MB": LARGE,
    "no JSON type": object(),
    "a set": {1, 2},
}
# What is refused of values that no text stands for.
NOT_IN = {name: value for name, value in VALUES.items() if name != "a set"}


@tool("doors.echo")
def echo(value: Any = None) -> Any:
    """Give back the value of this name."""
    return {"value": VALUES[value]}


@shared_task(name="doors.celery")
def celery_echo(value: str) -> Any:
    return {"value": VALUES[value]}


celery_tool("doors.celery-echo", celery_echo)


@task(retry=Retry(max=0))
def task_echo(value: str) -> Any:
    return {"value": VALUES[value]}


# --- text comes in -------------------------------------------------------------------------------------------------------
def by_api(text: str) -> int:
    return Caller().post("/jobs", f'{{"toolName": "doors.echo", "params": {{"value": {text}}}}}').status_code


def by_bulk(text: str) -> int:
    return Caller().post("/bulk", f'{{"jobs": [{{"toolName": "doors.echo", "params": {{"value": {text}}}}}]}}').status_code


def by_metadata(text: str) -> int:
    body = f'{{"toolName": "doors.echo", "params": {{}}, "metadata": {{"value": {text}}}}}'
    return Caller().post("/jobs", body).status_code


def by_schema(text: str) -> int:
    body = f'{{"params": {{"type": "object", "default": {text}}}}}'
    put = Caller(tokens.SCOPES).client.put("/api/v1/tools/doors.outside", body, content_type="application/json")
    return put.status_code


def by_agent(text: str) -> int:
    told = {"io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {}}
    envelope = f'"_meta": {json.dumps(told)}'
    params = f'{{"name": "doors.echo", "arguments": {{"value": {text}}}, {envelope}}}'
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {params}}}'
    headers = {"Mcp-Protocol-Version": REVISION, "Mcp-Method": "tools/call", "Mcp-Name": "doors.echo"}
    response = Agent().post(body, **headers)
    if response.status_code >= 400:
        return int(response.status_code)
    said = response.json()
    return 422 if "error" in said or said["result"].get("isError") else 200


def by_form(text: str) -> int:
    form = {"tool": "doors.echo", "params": f'{{"value": {text}}}', "priority": "medium"}
    return signed_in(superuser=True).post("/submit/", form).status_code


def by_drawn_form(text: str) -> int:
    return signed_in(superuser=True).post("/submit/", {"tool": "doors.echo", "p-value": text, "priority": "medium"}).status_code


@pytest.mark.django_db
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("door", [by_api, by_bulk, by_metadata, by_schema, by_agent, by_form, by_drawn_form])
def test_text_that_cannot_be_taken_is_refused_at_every_door(door: Callable[[str], int], text: str) -> None:
    before = rows()
    assert door(text) in {400, 413, 422}
    assert rows() == before
    assert not Job.objects.exists()


# --- values come in ------------------------------------------------------------------------------------------------------
def by_submit(value: Any) -> None:
    lifecycle.submit(Submission(tool="doors.echo", params={"value": value}), by="t")


def by_manager(value: Any) -> None:
    JobManager().create_task_job("doors.echo", {"value": value})


def by_standard(value: Any) -> None:
    JobManager().create_job("doors.own", {"value": value})


def by_changed_params(value: Any) -> None:
    job = submitted("doors.echo", params={"value": "a set"})
    lifecycle.cancel(job.id, by="t")
    try:
        lifecycle.retry(job.id, by="t", params={"value": value})
    finally:
        assert Job.objects.get().status == "cancelled"
        Job.objects.all().delete()


def by_task(value: Any) -> None:
    """Django itself refuses what has no form in JSON, by a TypeError."""
    task_echo.enqueue(value)


def by_named_argument_of_a_task(value: Any) -> None:
    task_echo.enqueue(value=value)


@pytest.mark.django_db
@pytest.mark.parametrize("value", NOT_IN.values(), ids=NOT_IN.keys())
@pytest.mark.parametrize("door", [by_submit, by_manager, by_standard, by_changed_params, by_task, by_named_argument_of_a_task])
def test_values_that_cannot_be_taken_are_refused_at_every_door(door: Callable[[Any], None], value: Any) -> None:
    is_task = door in {by_task, by_named_argument_of_a_task}
    with pytest.raises((Refused, TypeError) if is_task and value is NOT_IN["no JSON type"] else Refused):
        door(value)
    assert not Job.objects.exists()


# --- tools say it --------------------------------------------------------------------------------------------------------
def run_here(name: str) -> Callable[[str], Job]:
    def run(value: str) -> Job:
        return answered(submitted(name, params={"value": value}))

    run.__name__ = name
    return run


def answered(pending: Job) -> Job:
    """As a worker does it."""
    job = admitted(pending)
    execution.answer(job.current_attempt_id or 0, "default", 1000)
    execution._pulse.end()
    return Job.objects.get(pk=job.id)


def reported(value: str) -> Job:
    manager = JobManager()
    job = manager.create_job("doors.own", {})
    assert manager.update_job_status(job, "running", metadata={"value": VALUES[value]})
    assert manager.set_job_result(job, {"value": VALUES[value]})
    return Job.objects.get(pk=job)


def run_as_task(value: str) -> Job:
    return answered(Job.objects.get(pk=task_echo.enqueue(value).id))


FROM_TOOLS = [run_here("doors.echo"), run_here("doors.celery-echo"), run_as_task, reported]
# What Django's tasks may return is JSON, by their contract; any other value fails the task.
NO_JSON = {"no JSON type", "a set"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("door", FROM_TOOLS, ids=lambda door: door.__name__)
def test_whatever_a_tool_says_a_final_state_is_reached(door: Callable[[str], Job], value: str) -> None:
    django_settings.JOBSITE_STAY, stay = 0, django_settings.JOBSITE_STAY
    try:
        job = door(value)
    finally:
        django_settings.JOBSITE_STAY = stay
    json.dumps(job.result, allow_nan=False)
    if door is run_as_task and value in NO_JSON:
        assert job.status == "failed"
        return
    assert job.status == "completed"
    if value != "a set":
        assert any("changed so that it could be stored" in line for line in job.diagnostics)


@pytest.mark.django_db
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_runner_outside_is_told_what_is_wrong_and_can_still_end_its_job(text: str) -> None:
    catalog.register("doors.elsewhere", by="t", params_schema={"type": "object"})
    caller = Caller(tokens.SCOPES)
    job = lifecycle.submit(Submission(tool="doors.elsewhere"), by="t")
    caller.post("/claims", {"tools": ["doors.elsewhere"]})
    admit(job.id)
    (run,) = caller.post("/claims", {"tools": ["doors.elsewhere"]}).json()["jobs"]
    for what, field in (("result", "structuredContent"), ("progress", "checkpoint"), ("progress", "metadata")):
        shaped = f'{{"value": {text}}}' if field == "metadata" else text
        assert caller.post(f"/attempts/{run['attempt']}/{what}", f'{{"{field}": {shaped}}}').status_code in {400, 413, 422}
    assert Job.objects.get(pk=job.id).status == "running"
    assert caller.post(f"/attempts/{run['attempt']}/result", {"structuredContent": {"sum": 3}}).status_code == 200
    assert Job.objects.get(pk=job.id).status == "completed"


@pytest.mark.django_db
def test_what_a_runner_outside_says_is_covered_like_what_a_tool_says() -> None:
    secret = "postgres://admin:hunter2hunter2@db/x"
    catalog.register("doors.elsewhere", by="t", params_schema={"type": "object"})
    caller = Caller(tokens.SCOPES)
    job = lifecycle.submit(Submission(tool="doors.elsewhere"), by="t")
    caller.post("/claims", {"tools": ["doors.elsewhere"]})
    admit(job.id)
    (run,) = caller.post("/claims", {"tools": ["doors.elsewhere"]}).json()["jobs"]
    news = {"message": secret, "currentStage": secret, "diagnostics": [secret], "metadata": {"password": "p4ss"}}
    assert caller.post(f"/attempts/{run['attempt']}/progress", news | {"checkpoint": {"url": secret}}).status_code == 200
    assert "hunter2" not in str(Job.objects.values().get())
    assert "p4ss" not in str(Job.objects.values().get())
    caller.post(
        f"/attempts/{run['attempt']}/result", {"content": [{"type": "text", "text": secret}], "structuredContent": {"u": secret}}
    )
    row = Job.objects.values().get()
    assert row["status"] == "completed"
    assert "hunter2" not in str(row)
