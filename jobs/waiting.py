"""Why a job waits, as programs get it."""

from __future__ import annotations

from jobs.events import millis
from jobs.schemas import Shape, ms
from jobs.why import Why


class Blocker(Shape):
    """A job in the way of another: what that one builds on, or what holds the room that it needs."""

    job_id: str
    tool_name: str
    status: str


class LimitReached(Shape):
    """`kind` is slots, memory, cpu or disk; or tool, operation, project, key, queue or all, with the `name` of the group."""

    kind: str
    name: str | None = None
    used: float
    most: float


class WhyWaiting(Shape):
    """Why a pending job waits.

    `reason` is a stable word: dependencies, schedule, retry, paused, quarantined, input, limit, rate, capacity, queued, starting,
    no_worker or no_dispatcher. `blockers` are at most a hundred; `limit` is the one that is reached. `place` is its place in line;
    `until` the earliest time it can start, where that is known.
    """

    reason: str
    text: str
    since: int
    blockers: list[Blocker]
    limit: LimitReached | None = None
    until: int | None = None
    place: int | None = None


def shape_of(found: Why) -> WhyWaiting:
    return WhyWaiting(
        reason=found.reason,
        text=found.text,
        since=ms(found.since),
        blockers=[Blocker(job_id=job.id, tool_name=job.tool, status=job.status) for job in found.blockers],
        limit=found.limit and LimitReached(**vars(found.limit) | {"name": found.limit.name or None}),
        until=millis(found.until),
        place=found.place,
    )
