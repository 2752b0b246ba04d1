"""Doorbells: Celery messages that carry an attempt id and mean "there is work". Losing or doubling one is harmless."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable

import redis
from celery import Celery, current_app
from django.conf import settings
from kombu.exceptions import OperationalError

from jobs import lifecycle, workers
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import execute, fetch
from jobs.redis_link import connection
from jobs.tools import EXTERNAL

log = logging.getLogger(__name__)

TASK = "jobs.run_attempt"
# With no process known (none has said hello yet) this many doorbells may lie in a queue.
LEAST = 8

Chime = tuple[int, str, int]  # attempt id, queue, the attempt's time-out in ms

_UNANSWERED = """
SELECT id, queue, timeout_ms FROM jobs_attempt
WHERE state = 'admitted' AND queue <> 'external' AND COALESCE(rung_at, admitted_at) < now() - make_interval(secs => %(patience)s)
ORDER BY id LIMIT 200
"""


def unanswered() -> list[Chime]:
    """Admitted attempts that nobody started although their doorbell should have been heard."""
    rows = execute(_UNANSWERED, {"patience": settings.JOBSITE_START_TIMEOUT})
    return [(row["id"], row["queue"], row["timeout_ms"]) for row in rows]


def ring(chimes: Iterable[Chime]) -> int:
    """Call hands for admitted attempts; returns how many were called. Never raises for Redis: the sweep rings again.

    Only idle processes need a call: a busy child takes the next admitted attempt at its end, or rings in its place when it has
    stayed long enough. More doorbells would pile up and call children for nothing.
    """
    by_queue: dict[str, list[Chime]] = defaultdict(list)
    for chime in chimes:
        # Those who wait for external work are told by the news of the admission.
        if chime[1] == EXTERNAL:
            continue
        by_queue[chime[1]].append(chime)
    rung: list[int] = []
    try:
        for queue, waiting in by_queue.items():
            taken = _call_lingering(queue, len(waiting))
            rung += [attempt_id for attempt_id, _, _ in waiting[:taken]]
            left = waiting[taken:]
            for attempt_id, _, timeout_ms in left[: idle(queue) if left else 0]:
                send(attempt_id, queue, timeout_ms)
                rung.append(attempt_id)
    except (redis.RedisError, OperationalError) as error:
        log.warning("doorbells wait for Redis: %s", error)
    if rung:
        failpoint("ring.after")
    lifecycle.note_rung(rung)
    return len(rung)


def linger(queue: str, seconds: float) -> bool:
    """Wait at the door of `queue`, for a child that has just ended a job: true when it is called, false after `seconds`.

    Spares the way through Celery (about ten milliseconds). A call that is lost with its child is made again by the sweep.
    """
    try:
        return connection().blpop([_door(queue)], timeout=seconds) is not None
    except redis.RedisError as error:
        log.warning("nobody can be heard at the door: %s", error)
        return False


def _door(queue: str) -> str:
    return f"{settings.REDIS_PREFIX}:door:{queue}"


def _call_lingering(queue: str, calls: int) -> int:
    """How many of so many calls were heard by lingering children; Redis hands each call to one of them."""
    with connection().pipeline(transaction=False) as pipe:
        pipe.rpush(_door(queue), *([b"1"] * calls))
        pipe.llen(_door(queue))
        # What nobody waits for now must not call a child later for nothing.
        pipe.delete(_door(queue))
        left = pipe.execute()[1]
    return max(0, calls - int(left))


def idle(queue: str) -> int:
    """Processes that neither run an attempt of `queue` nor have a doorbell lying there for them."""
    # Who has missed two beats is likely dead, and another process there in its place: it must not wait for the end of the lease.
    silent = settings.JOBSITE_LEASE - 2 * settings.JOBSITE_BEAT
    ((slots, running),) = fetch(_HANDS, {"queue": queue, "patience": workers.ALIVE_FOR.total_seconds(), "silent": silent})
    length = connection().llen(f"{settings.REDIS_PREFIX}:celery:{queue}")
    assert isinstance(length, int)  # noqa: S101  (redis-py types its answers for sync and async at once)
    return max(0, (slots - running if slots else LEAST) - length)


_HANDS = """
SELECT COALESCE((SELECT sum(slots) FROM jobs_worker w WHERE w.stopped_at IS NULL AND w.draining_at IS NULL
        AND w.queues @> to_jsonb(%(queue)s::text) AND w.beat_at > now() - make_interval(secs => %(patience)s)), 0)::int AS slots,
    (SELECT count(*) FROM jobs_attempt a WHERE a.state = 'running' AND a.queue = %(queue)s
        AND a.lease_until > now() + make_interval(secs => %(silent)s))::int AS running
"""


def send(attempt_id: int, queue: str, timeout_ms: int) -> None:
    """One doorbell. Celery's hard limit covers the whole stay of the child, as a net under our own time-outs."""
    app: Celery = current_app
    app.send_task(
        TASK,
        args=[attempt_id],
        queue=queue,
        ignore_result=True,
        retry=False,
        time_limit=math.ceil(stay_limit(timeout_ms)),
    )


def stay_limit(timeout_ms: int) -> float:
    """Seconds that a child may be busy with one doorbell for an attempt of this time-out.

    At least a quarter of an hour, so that nearly every doorbell can serve nearly every attempt.
    """
    return max(900.0, timeout_ms / 1000) + settings.JOBSITE_STAY + 4 * settings.JOBSITE_GRACE


_OLDEST = "SELECT id, timeout_ms FROM jobs_attempt WHERE state = 'admitted' AND queue = %(queue)s ORDER BY id LIMIT 1"


def pass_on(queue: str) -> None:
    """A child that leaves while work is admitted rings once more, in its place."""
    for row in execute(_OLDEST, {"queue": queue}):
        try:
            send(row["id"], queue, row["timeout_ms"])
        except (redis.RedisError, OperationalError) as error:
            log.warning("doorbell not passed on: %s", error)
