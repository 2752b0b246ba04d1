"""Questions about jobs and the whole, and verbs that steer a job, as plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

from jobsite_client.link import Link, accepted, ask
from jobsite_client.plans import Call, Item, Plan, Stream
from jobsite_client.shapes import (
    Group,
    Job,
    JobAttempt,
    JobEvent,
    JobPage,
    JobStatus,
    JobSummary,
    Json,
    Kin,
    MadeToken,
    Metrics,
    QueueStatus,
    Shape,
    Statistics,
    Token,
    Tool,
    WhyWaiting,
    Workers,
)


class _Events(Shape):
    events: list[JobEvent]


class _Attempts(Shape):
    attempts: list[JobAttempt]


class _Tools(Shape):
    tools: list[Tool]


class _Diagnostics(Shape):
    diagnostics: list[str]


class _Moved(Shape):
    moved: int


class _Tokens(Shape):
    tokens: list[Token]


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


def diagnostics(link: Link, job_id: str) -> Plan[list[str]]:
    """Every line the job wrote that is kept, oldest first."""
    return (yield from ask(link, get_of(path_of(job_id, "diagnostics")), _Diagnostics)).diagnostics


def kin(link: Link, job_id: str) -> Plan[Kin]:
    """The jobs that this one waits for or waited for, and those that wait for it."""
    return (yield from ask(link, get_of(path_of(job_id, "dependencies")), Kin))


def metrics(link: Link, job_id: str) -> Plan[Metrics]:
    """What the job's last attempt cost. Raises `NotFound` before the first attempt ended."""
    return (yield from ask(link, get_of(path_of(job_id, "metrics")), Metrics))


# --- steering --------------------------------------------------------------------------------------------------------
def cancel(link: Link, job_id: str, reason: str = "") -> Plan[JobStatus]:
    """A pending job is cancelled at once, a running one is told to stop; a finished one stays as it is."""
    return (yield from ask(link, _verb(job_id, "cancel", {"reason": reason}), JobStatus))


def retry(link: Link, job_id: str, params: Mapping[str, Json] | None = None) -> Plan[JobStatus]:
    """Send a failed or cancelled job back to pending, with all its retries; with other params if given. Raises `Conflict`."""
    body = None if params is None else {"params": dict(params)}
    return (yield from ask(link, _verb(job_id, "retry", body, repeatable=False), JobStatus))


def release(link: Link, job_id: str) -> Plan[JobStatus]:
    """Let a job in again that was quarantined because its process vanished three times in a row."""
    return (yield from ask(link, _verb(job_id, "release"), JobStatus))


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


# --- batches and projects --------------------------------------------------------------------------------------------
GroupKind: TypeAlias = Literal["batch", "project"]
_PLACES: dict[GroupKind, str] = {"batch": "/batches", "project": "/projects"}


def group(link: Link, name: str, kind: GroupKind = "batch") -> Plan[Group]:
    """How far the jobs of a batch, or of a project, are as a whole. Raises `NotFound`."""
    return (yield from ask(link, get_of(_group(kind, name)), Group))


def cancel_group(link: Link, name: str, kind: GroupKind = "batch", *, reason: str = "") -> Plan[int]:
    """Cancel every job of it that has not ended; how many there were."""
    call = Call(method="POST", path=_group(kind, name, "cancel"), body={"reason": reason})
    return (yield from ask(link, call, _Moved)).moved


def retry_group(link: Link, name: str, kind: GroupKind = "batch") -> Plan[int]:
    """Send every failed job of it back to pending; how many there were."""
    call = Call(method="POST", path=_group(kind, name, "retry"), repeatable=False)
    return (yield from ask(link, call, _Moved)).moved


def _group(kind: GroupKind, name: str, *rest: str) -> str:
    return "/".join([_PLACES[kind], quote(name, safe=""), *rest])


# --- the whole -------------------------------------------------------------------------------------------------------
def tools(link: Link) -> Plan[list[Tool]]:
    """Every tool, with the JSON Schema of its params."""
    return (yield from ask(link, get_of("/tools"), _Tools)).tools


def tool(link: Link, name: str) -> Plan[Tool]:
    """One tool. Raises `NotFound`."""
    return (yield from ask(link, get_of(f"/tools/{quote(name, safe='')}"), Tool))


def workers(link: Link) -> Plan[Workers]:
    """Who runs jobs now, and whether a dispatcher is there to start them."""
    return (yield from ask(link, get_of("/workers"), Workers))


def queue(link: Link) -> Plan[QueueStatus]:
    """What waits and what runs."""
    return (yield from ask(link, get_of("/queue"), QueueStatus))


def statistics(link: Link) -> Plan[Statistics]:
    """Totals and averages over the jobs that are kept."""
    return (yield from ask(link, get_of("/stats"), Statistics))


# --- tokens ----------------------------------------------------------------------------------------------------------
def tokens(link: Link) -> Plan[list[Token]]:
    """Every token by name. Needs the scope `admin`, as the other two."""
    return (yield from ask(link, get_of("/tokens"), _Tokens)).tokens


def create_token(
    link: Link,
    name: str,
    *,
    scopes: Sequence[str] = (),
    tools: Sequence[str] = (),
    projects: Sequence[str] = (),
    expires_in_days: float | None = None,
) -> Plan[MadeToken]:
    """Make a token; with `tools` or `projects` it sees and moves jobs of these only. Raises `Refused`."""
    wanted = {"name": name, "scopes": scopes, "tools": tools, "projects": projects, "expiresInDays": expires_in_days}
    body = {key: value if isinstance(value, str | float | int) else list(value) for key, value in wanted.items() if value}
    return (yield from ask(link, Call(method="POST", path="/tokens", body=body, repeatable=False), MadeToken))


def revoke_token(link: Link, name: str) -> Plan[None]:
    """From now on the token is refused. Raises `NotFound`."""
    yield from accepted(link, Call(method="DELETE", path=f"/tokens/{quote(name, safe='')}"))
