"""The tools of the queue itself, beside those that are registered: functions whose docstrings and types agents are shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as ToolShape
from pydantic import BaseModel, Field

from jobs import lifecycle, queries, schemas, statistics, tokens
from jobs.api.auth import Caller
from jobs.api.jobs import JobPage
from jobs.api.reach import refuse_beyond
from jobs.api.requests import JobId, Listing, NewJob, Sent
from jobs.mcp import snapshot
from jobs.mcp.snapshot import JobSnapshot
from jobs.schemas import QueueStatus, Shape
from jobs.sight import refuse_unseen

# The longest a call may wait; proxies close what is silent for longer. Seconds.
LONGEST_WAIT = 25.0

Call = TypeVar("Call", bound=Callable[[Any, Caller], Shape])


class OneJob(Sent):
    job_id: JobId


class Wait(OneJob):
    seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT, description="give up after so long")] = LONGEST_WAIT


class Cancel(OneJob):
    reason: Annotated[str, Field(max_length=500)] = ""


class Answers(OneJob):
    """`answers` is by the question's key: {"action": "accept", "content": {...}}, or {"action": "decline"}."""

    answers: dict[str, Any]


class Nothing(Sent):
    pass


@dataclass(frozen=True, kw_only=True)
class Verb:
    """`call` does it and gives what is shown; with `waits`, the call then goes on until the job has ended."""

    name: str
    description: str
    scope: str
    params: type[BaseModel]
    call: Callable[[Any, Caller], Shape]
    output: dict[str, Any]
    reads_only: bool = False
    waits: bool = False

    def shape(self) -> ToolShape:
        return ToolShape(
            name=self.name,
            description=self.description,
            input_schema=self.params.model_json_schema(by_alias=True),
            output_schema=self.output,
            annotations=ToolAnnotations(read_only_hint=self.reads_only, open_world_hint=False),
        )


VERBS: dict[str, Verb] = {}


def verb(scope: str, *, waits: bool = False) -> Callable[[Call], Call]:
    """Offer a function as a tool of its name. What needs no more than `jobs:read` changes nothing."""

    def register(call: Call) -> Call:
        hints = get_type_hints(call)
        VERBS[call.__name__] = Verb(
            name=call.__name__,
            description=" ".join(inspect.getdoc(call).split()),  # type: ignore[union-attr]  # each has one
            scope=scope,
            params=hints["wanted"],
            call=call,
            output=hints["return"].model_json_schema(by_alias=True, mode="validation"),
            reads_only=scope == tokens.READ,
            waits=waits,
        )
        return call

    return register


def as_result(shown: Shape) -> CallToolResult:
    if isinstance(shown, JobSnapshot):
        return snapshot.as_result(shown)
    text = shown.model_dump_json(by_alias=True, exclude_none=True)
    wire = shown.model_dump(by_alias=True, exclude_none=True, mode="json")
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=wire)


@verb(tokens.SUBMIT)
def submit_job(wanted: NewJob, caller: Caller) -> JobSnapshot:
    """Hand in a job with everything that can be said about it: priority, dependencies, time, batch. Answers at once with its id."""
    submission = wanted.as_submission()
    refuse_beyond(caller, [submission])
    return snapshot.of(lifecycle.submit(submission, by=caller.name).pk, caller.sight)


@verb(tokens.READ)
def get_job(wanted: OneJob, caller: Caller) -> JobSnapshot:
    """Where a job is, and its result once it has ended. pollingRecommendation says when to look again."""
    return snapshot.of(wanted.job_id, caller.sight)


@verb(tokens.READ, waits=True)
def wait_job(wanted: Wait, caller: Caller) -> JobSnapshot:
    """As get_job, but answers when the job has ended or asks something, at most the given seconds later."""
    return snapshot.of(wanted.job_id, caller.sight)


@verb(tokens.READ)
def list_jobs(wanted: Listing, caller: Caller) -> JobPage:
    """Jobs, newest first, by status, tool, project or batch; 50 a page."""
    page = queries.page(
        status=wanted.status or "",
        tool=wanted.tool_name,
        project=wanted.project_id,
        batch=wanted.batch_id,
        others=wanted.others(),
        sort=wanted.sort,
        cursor=wanted.cursor,
        size=wanted.limit,
        sight=caller.sight,
    )
    return JobPage(jobs=[schemas.summary(job) for job in page.jobs], next_cursor=page.next_cursor or None)


@verb(tokens.CONTROL)
def cancel_job(wanted: Cancel, caller: Caller) -> JobSnapshot:
    """End a pending job at once, tell a running one to stop; a finished one stays as it is."""
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.cancel(wanted.job_id, by=caller.name, reason=wanted.reason)
    return snapshot.of(wanted.job_id, caller.sight)


@verb(tokens.CONTROL)
def retry_job(wanted: OneJob, caller: Caller) -> JobSnapshot:
    """Send a failed or cancelled job back to pending, with all its retries."""
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.retry(wanted.job_id, by=caller.name)
    return snapshot.of(wanted.job_id, caller.sight)


@verb(tokens.SUBMIT)
def answer_job(wanted: Answers, caller: Caller) -> JobSnapshot:
    """Answer what a job asks (see its questions); it goes on when all are answered."""
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.answer(wanted.job_id, wanted.answers, by=caller.name)
    return snapshot.of(wanted.job_id, caller.sight)


@verb(tokens.READ)
def why_waiting(wanted: OneJob, caller: Caller) -> JobSnapshot:
    """As get_job, and why a pending job has not started: limits, dependencies, place in line."""
    return snapshot.of(wanted.job_id, caller.sight, why=True)


@verb(tokens.READ)
def queue_status(wanted: Nothing, caller: Caller) -> QueueStatus:
    """How many jobs wait and run, by priority and operation, and how long they wait (ms)."""
    return QueueStatus.model_validate(statistics.queue_status(caller.sight))
