"""Questions about jobs and the whole, and verbs that steer a job, as plans."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from jobsite_client.link import Link, ask
from jobsite_client.plans import Call, Item, Plan, Stream
from jobsite_client.shapes import (
    Job,
    JobAttempt,
    JobEvent,
    JobPage,
    JobStatus,
    JobSummary,
    Json,
    Metrics,
    QueueStatus,
    Shape,
    Statistics,
    Tool,
    WhyWaiting,
)


class _Events(Shape):
    events: list[JobEvent]


class _Attempts(Shape):
    attempts: list[JobAttempt]


class _Tools(Shape):
    tools: list[Tool]


class _Waiting(Shape):
    why: WhyWaiting | None = None


def path_of(job_id: str, *rest: str) -> str:
    return "/".join(["/jobs", quote(job_id, safe=""), *rest])


def get_of(path: str, query: Mapping[str, str | int | None] | None = None) -> Call:
    return Call(method="GET", path=path, query={k: str(v) for k, v in (query or {}).items() if v not in (None, "")})


# --- one job ---------------------------------------------------------------------------------------------------------
def get(link: Link, job_id: str) -> Plan[JobStatus]:
    """Where the job is, and when to look again. Raises `NotFound`."""
    return (yield from ask(link, get_of(path_of(job_id)), JobStatus))


def full(link: Link, job_id: str) -> Plan[Job]:
    """Everything about the job: params, result, requirements, dependencies."""
    return (yield from ask(link, get_of(path_of(job_id, "full")), Job))


def why(link: Link, job_id: str) -> Plan[WhyWaiting | None]:
    """Why the job waits; None when it does not."""
    return (yield from ask(link, get_of(path_of(job_id, "why")), _Waiting)).why


def events(link: Link, job_id: str) -> Plan[list[JobEvent]]:
    """Every move the job made, oldest first."""
    return (yield from ask(link, get_of(path_of(job_id, "events")), _Events)).events


def attempts(link: Link, job_id: str) -> Plan[list[JobAttempt]]:
    """Every try at the job, oldest first."""
    return (yield from ask(link, get_of(path_of(job_id, "attempts")), _Attempts)).attempts


def metrics(link: Link, job_id: str) -> Plan[Metrics]:
    """What the job's last attempt cost. Raises `NotFound` before the first attempt ended."""
    return (yield from ask(link, get_of(path_of(job_id, "metrics")), Metrics))


# --- steering --------------------------------------------------------------------------------------------------------
def cancel(link: Link, job_id: str, reason: str = "") -> Plan[JobStatus]:
    """A pending job is cancelled at once, a running one is told to stop; a finished one stays as it is."""
    return (yield from ask(link, _verb(job_id, "cancel", {"reason": reason}), JobStatus))


def retry(link: Link, job_id: str) -> Plan[JobStatus]:
    """Send a failed or cancelled job back to pending, with all its retries. Raises `Conflict`."""
    return (yield from ask(link, _verb(job_id, "retry", repeatable=False), JobStatus))


def pause(link: Link, job_id: str, reason: str = "") -> Plan[JobStatus]:
    """Hold a pending job back until it is resumed."""
    return (yield from ask(link, _verb(job_id, "pause", {"reason": reason}), JobStatus))


def resume(link: Link, job_id: str) -> Plan[JobStatus]:
    """Let a paused job in again, at its old place in line."""
    return (yield from ask(link, _verb(job_id, "resume"), JobStatus))


def set_priority(link: Link, job_id: str, priority: str) -> Plan[JobStatus]:
    """Give a pending job another priority, and with it another place in line."""
    return (yield from ask(link, _verb(job_id, "priority", {"priority": priority}), JobStatus))


def _verb(job_id: str, verb: str, body: Json = None, *, repeatable: bool = True) -> Call:
    return Call(method="POST", path=path_of(job_id, verb), body=body, repeatable=repeatable)


# --- many jobs -------------------------------------------------------------------------------------------------------
def page(
    link: Link,
    *,
    status: str | None = None,
    tool: str | None = None,
    project: str | None = None,
    batch: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Plan[JobPage]:
    """One page of jobs, newest first."""
    query = {"status": status, "toolName": tool, "projectId": project, "batchId": batch, "cursor": cursor, "limit": limit}
    return (yield from ask(link, get_of("/jobs", query), JobPage))


def jobs(
    link: Link, *, status: str | None = None, tool: str | None = None, project: str | None = None, batch: str | None = None
) -> Stream[JobSummary]:
    """All jobs that fit, newest first, fetched a page at a time as they are asked for."""
    cursor: str | None = None
    while True:
        found = yield from page(link, status=status, tool=tool, project=project, batch=batch, cursor=cursor, limit=100)
        for job in found.jobs:
            yield Item(job)
        cursor = found.next_cursor
        if cursor is None:
            return


# --- the whole -------------------------------------------------------------------------------------------------------
def tools(link: Link) -> Plan[list[Tool]]:
    """Every tool, with the JSON Schema of its params."""
    return (yield from ask(link, get_of("/tools"), _Tools)).tools


def queue(link: Link) -> Plan[QueueStatus]:
    """What waits and what runs."""
    return (yield from ask(link, get_of("/queue"), QueueStatus))


def statistics(link: Link) -> Plan[Statistics]:
    """Totals and averages over the jobs that are kept."""
    return (yield from ask(link, get_of("/stats"), Statistics))
