"""A job as a task of the extension io.modelcontextprotocol/tasks (revision 2026-07-28)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY

from jobs import lifecycle, looks, polling, queries, schemas
from jobs.api.auth import Caller
from jobs.errors import Category, NotFound
from jobs.mcp import snapshot
from jobs.models import Job
from jobs.schemas import OpenQuestion
from jobs.sight import find
from jobs.states import Status

EXTENSION = "io.modelcontextprotocol/tasks"

Wire = dict[str, Any]


def required() -> MCPError:
    """The client must declare the extension."""
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"this needs a client that declares the extension {EXTENSION}",
        {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
    )


def created(job: Job) -> Wire:
    """The answer to a call that became a task. The job is durable already."""
    return {"resultType": "task", **_task(job, "working", polling.interval_ms(job.status, 1))}


def detailed(job_id: str, caller: Caller, *, may_ask: bool) -> Wire:
    """Where the task is, with its result once it has ended. A look in the sense of the polling contract.

    Questions are shown only to a client that can put them (`may_ask`). Raises `NotFound`, also for a job of another caller.
    """
    seen = looks.look(job_id, caller.sight)
    if seen.job.submitted_by != caller.name:
        raise NotFound("there is no such task")
    match seen.job.status:
        case Status.CANCELLED:
            return _task(seen.job, "cancelled", None)
        case Status.COMPLETED:
            return _task(seen.job, "completed", None) | {"result": _result(job_id, caller)}
        case Status.FAILED:
            return _failed(seen.job, caller)
    asked = [schemas.open_question(row) for row in queries.open_questions(seen.job)] if may_ask else []
    if asked:
        return _task(seen.job, "input_required", seen.wait_ms) | {"inputRequests": {q.key: elicitation(q) for q in asked}}
    return _task(seen.job, "working", seen.wait_ms)


def elicitation(question: OpenQuestion) -> Wire:
    """As the client is asked to put it to its user: a form."""
    params = {"mode": "form", "message": question.message, "requestedSchema": question.requested_schema}
    return {"method": "elicitation/create", "params": params}


def _task(job: Job, status: str, wait_ms: int | None) -> Wire:
    ended = job.finished_at or timezone.now()
    # Kept at least so long after its end, and for ever before: so this never promises too much.
    kept = ended - job.created_at + settings.JOBSITE_RETENTION
    told: Wire = {
        "taskId": job.id,
        "status": status,
        "createdAt": _iso(job.created_at),
        "lastUpdatedAt": _iso(job.updated_at),
        "ttlMs": round(kept.total_seconds() * 1000),
    }
    if message := (job.message if job.status == Status.RUNNING else job.reason):
        told["statusMessage"] = message
    return told if wait_ms is None else told | {"pollIntervalMs": max(1, wait_ms)}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _result(job_id: str, caller: Caller) -> Wire:
    return snapshot.as_result(snapshot.of(job_id, caller.sight)).model_dump(by_alias=True, exclude_none=True, mode="json")


def _failed(job: Job, caller: Caller) -> Wire:
    """A tool that raised has said something: its task is completed, with an error. One that never got to say a word has failed."""
    attempts = queries.attempts_of(job.pk)
    last = attempts[-1] if attempts else None
    spoke = last is not None and last.error_category != Category.LOST and last.error_class not in _WORDLESS
    if spoke:
        return _task(job, "completed", None) | {"result": _result(job.pk, caller)}
    return _task(job, "failed", None) | {"error": {"code": INTERNAL_ERROR, "message": job.reason or "the job failed"}}


# Not raised by the work, but by what ends a process or was never started.
_WORDLESS = frozenset({"SystemExit", "KeyboardInterrupt", "UnknownTool"})


def answer(job_id: str, replies: dict[str, Any], caller: Caller) -> None:
    """Give answers to what the task asks; unknown keys are left out. Raises `NotFound` or `InvalidRequest`."""
    _refuse_foreign(job_id, caller)
    lifecycle.answer(job_id, replies, by=caller.name)


def cancel(job_id: str, caller: Caller) -> None:
    """A task that has ended stays as it is. Raises `NotFound`."""
    _refuse_foreign(job_id, caller)
    lifecycle.cancel(job_id, by=caller.name)


def _refuse_foreign(job_id: str, caller: Caller) -> None:
    if find(job_id, caller.sight).submitted_by != caller.name:
        raise NotFound("there is no such task")
