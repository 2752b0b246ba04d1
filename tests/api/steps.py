"""Jobs at every point of their life, made by the verbs that make them in production; and callers of the API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel, ConfigDict

from jobs import lifecycle, tokens
from jobs.errors import Category
from jobs.failures import Failure
from jobs.lifecycle import Running, Submission, Usage
from jobs.models import Dependency, Event, Job
from jobs.payloads import Json
from jobs.retry import GiveUp
from jobs.tools import tool
from tests.factories import admit

API = "/api/v1"


class SumParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    a: int
    b: int = 0
    note: str = ""


@tool("doors.sum", operation="analysis", params=SumParams)
def add(params: SumParams) -> int:
    """Add two numbers."""
    return params.a + params.b


def submitted(**wanted: Any) -> Job:
    wanted = {"tool": "doors.sum", "params": {"a": 1}} | wanted
    return lifecycle.submit(Submission(**wanted), by="tester")


def running(**wanted: Any) -> Running:
    job = submitted(**wanted)
    (admitted,) = admit(job.id)
    started = lifecycle.start(admitted.current_attempt_id or 0, lifecycle.Child(worker="here:1", pid=1, lease=60))
    assert started is not None
    return started


def completed(*, memory: float = 100, cpu: float = 10, **wanted: Any) -> Job:
    result: Json = {"isError": False, "content": [{"type": "text", "text": "3"}], "structuredContent": {"sum": 3}}
    usage = Usage(peak_memory_mb=memory, cpu_percent=cpu, progress=100)
    job = lifecycle.finish(running(**wanted), result, usage, actor="here:1")
    assert job is not None
    return job


def failed(*, memory: float = 100, cpu: float = 10, **wanted: Any) -> Job:
    failure = Failure(category=Category.PERMANENT, error_class="ValueError", message="no such thing")
    usage = Usage(peak_memory_mb=memory, cpu_percent=cpu)
    job = lifecycle.fail(running(**wanted), failure, GiveUp(reason="for good"), usage, actor="here:1")
    assert job is not None
    return job


def rows() -> tuple[int, int, int]:
    """How much of a submission there is."""
    return Job.objects.count(), Dependency.objects.count(), Event.objects.count()


class Caller:
    """A program with a token."""

    def __init__(self, scopes: Iterable[str] = tokens.DEFAULT_SCOPES, name: str = "robot") -> None:
        self.secret = tokens.make(name, by="tests", scopes=scopes)[1]
        self.client = Client(headers={"authorization": f"Bearer {self.secret}"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(API + path, query)

    def post(self, path: str, body: Any = None) -> Any:
        text = "" if body is None else body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(API + path, text, content_type="application/json")

    def submit(self, **body: Any) -> Any:
        return self.post("/jobs", {"toolName": "doors.sum", "params": {"a": 1}} | body)


def signed_in(*, staff: bool = False, superuser: bool = False, name: str = "person", csrf: bool = False) -> Client:
    """A browser. `csrf` makes it check forms as a real one is checked."""
    user = User.objects.create_user(name, is_staff=staff, is_superuser=superuser)
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


def problem(response: Any) -> dict[str, Any]:
    """The problem a response carries, checked for the form that all of them have."""
    assert response.headers["Content-Type"] == "application/problem+json", response.content
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["type"].startswith("/api/v1/problems/")
    assert body["title"]
    assert body["detail"]
    return body
