"""The tools of the queue itself, beside those that are registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as ToolShape
from pydantic import BaseModel, Field

from jobs import lifecycle, queries, schemas, statistics, tokens
from jobs.api.auth import Caller
from jobs.api.jobs import JobPage
from jobs.api.reach import refuse_beyond
from jobs.api.requests import JobId, Listing, NewJob, Sent
from jobs.mcp import snapshot
from jobs.mcp.snapshot import SCHEMA, JobSnapshot
from jobs.schemas import QueueStatus, Shape
from jobs.sight import refuse_unseen

# The longest a call may wait; proxies close what is silent for longer. Seconds.
LONGEST_WAIT = 25.0


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


def as_result(shown: Shape) -> CallToolResult:
    if isinstance(shown, JobSnapshot):
        return snapshot.as_result(shown)
    text = shown.model_dump_json(by_alias=True, exclude_none=True)
    wire = shown.model_dump(by_alias=True, exclude_none=True, mode="json")
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=wire)


def _submit(wanted: NewJob, caller: Caller) -> Shape:
    submission = wanted.as_submission()
    refuse_beyond(caller, [submission])
    return snapshot.of(lifecycle.submit(submission, by=caller.name).pk, caller.sight)


def _get(wanted: OneJob, caller: Caller) -> Shape:
    return snapshot.of(wanted.job_id, caller.sight)


def _why(wanted: OneJob, caller: Caller) -> Shape:
    return snapshot.of(wanted.job_id, caller.sight, why=True)


def _list(wanted: Listing, caller: Caller) -> Shape:
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


def _cancel(wanted: Cancel, caller: Caller) -> Shape:
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.cancel(wanted.job_id, by=caller.name, reason=wanted.reason)
    return snapshot.of(wanted.job_id, caller.sight)


def _retry(wanted: OneJob, caller: Caller) -> Shape:
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.retry(wanted.job_id, by=caller.name)
    return snapshot.of(wanted.job_id, caller.sight)


def _answer(wanted: Answers, caller: Caller) -> Shape:
    refuse_unseen(wanted.job_id, caller.sight)
    lifecycle.answer(wanted.job_id, wanted.answers, by=caller.name)
    return snapshot.of(wanted.job_id, caller.sight)


def _queue(wanted: Nothing, caller: Caller) -> Shape:
    return QueueStatus.model_validate(statistics.queue_status(caller.sight))


def _schema(shape: type[Shape]) -> dict[str, Any]:
    return shape.model_json_schema(by_alias=True, mode="validation")


_VERBS = [
    Verb(
        name="submit_job",
        description="Hand in a job with everything that can be said about it: priority, dependencies, time, batch. "
        "Answers at once with its id.",
        scope=tokens.SUBMIT,
        params=NewJob,
        call=_submit,
        output=SCHEMA,
    ),
    Verb(
        name="get_job",
        description="Where a job is, and its result once it has ended. pollingRecommendation says when to look again.",
        scope=tokens.READ,
        params=OneJob,
        call=_get,
        output=SCHEMA,
        reads_only=True,
    ),
    Verb(
        name="wait_job",
        description=f"As get_job, but answers when the job has ended or asks something, at most {LONGEST_WAIT:g} s later.",
        scope=tokens.READ,
        params=Wait,
        call=_get,
        output=SCHEMA,
        reads_only=True,
        waits=True,
    ),
    Verb(
        name="list_jobs",
        description="Jobs, newest first, by status, tool, project or batch; 50 a page.",
        scope=tokens.READ,
        params=Listing,
        call=_list,
        output=_schema(JobPage),
        reads_only=True,
    ),
    Verb(
        name="cancel_job",
        description="End a pending job at once, tell a running one to stop; a finished one stays as it is.",
        scope=tokens.CONTROL,
        params=Cancel,
        call=_cancel,
        output=SCHEMA,
    ),
    Verb(
        name="retry_job",
        description="Send a failed or cancelled job back to pending, with all its retries.",
        scope=tokens.CONTROL,
        params=OneJob,
        call=_retry,
        output=SCHEMA,
    ),
    Verb(
        name="answer_job",
        description="Answer what a job asks (see its questions); it goes on when all are answered.",
        scope=tokens.SUBMIT,
        params=Answers,
        call=_answer,
        output=SCHEMA,
    ),
    Verb(
        name="why_waiting",
        description="As get_job, and why a pending job has not started: limits, dependencies, place in line.",
        scope=tokens.READ,
        params=OneJob,
        call=_why,
        output=SCHEMA,
        reads_only=True,
    ),
    Verb(
        name="queue_status",
        description="How many jobs wait and run, by priority and operation, and how long they wait (ms).",
        scope=tokens.READ,
        params=Nothing,
        call=_queue,
        output=_schema(QueueStatus),
        reads_only=True,
    ),
]

VERBS = {verb.name: verb for verb in _VERBS}
