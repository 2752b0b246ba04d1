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
from jobs.lifecycle.rows import execute
from jobs.redis_link import connection

log = logging.getLogger(__name__)

TASK = "jobs.run_attempt"
# With no process known (none has said hello yet) this many doorbells may lie in a queue.
LEAST = 8

Chime = tuple[int, str, int]  # attempt id, queue, the attempt's time-out in ms

_UNANSWERED = """
SELECT id, queue, timeout_ms FROM jobs_attempt
WHERE state = 'admitted' AND COALESCE(rung_at, admitted_at) < now() - make_interval(secs => %(patience)s)
ORDER BY id LIMIT 200
"""


def unanswered() -> list[Chime]:
    """Admitted attempts that nobody started although their doorbell should have been heard."""
    rows = execute(_UNANSWERED, {"patience": settings.JOBSITE_START_TIMEOUT})
    return [(row["id"], row["queue"], row["timeout_ms"]) for row in rows]


def ring(chimes: Iterable[Chime]) -> int:
    """Publish doorbells; returns how many went out. Never raises for Redis: what was not rung is rung again later.

    Only idle processes need one: a busy child takes the next admitted attempt at its end, or rings in its place when it has
    stayed long enough. More doorbells would pile up and call children for nothing.
    """
    by_queue: dict[str, list[Chime]] = defaultdict(list)
    for chime in chimes:
        by_queue[chime[1]].append(chime)
    rung: list[int] = []
    try:
        for row in execute(_HANDS, {"queues": list(by_queue), "patience": workers.ALIVE_FOR.total_seconds()}) if by_queue else ():
            idle = row["slots"] - row["running"] if row["slots"] else LEAST
            waiting = by_queue[row["queue"]]
            for attempt_id, queue, timeout_ms in waiting[: max(0, idle - _lying_in(row["queue"]))]:
                send(attempt_id, queue, timeout_ms)
                rung.append(attempt_id)
    except (redis.RedisError, OperationalError) as error:
        log.warning("doorbells wait for Redis: %s", error)
    lifecycle.note_rung(rung)
    return len(rung)


_HANDS = """
SELECT queue, COALESCE((SELECT sum(slots) FROM jobs_worker w WHERE w.stopped_at IS NULL AND w.queues @> to_jsonb(queue)
        AND w.beat_at > now() - make_interval(secs => %(patience)s)), 0)::int AS slots,
    (SELECT count(*) FROM jobs_attempt a WHERE a.state = 'running' AND a.queue = q.queue)::int AS running
FROM unnest(%(queues)s::text[]) AS q(queue)
"""


def _lying_in(queue: str) -> int:
    length = connection().llen(f"{settings.REDIS_PREFIX}:celery:{queue}")
    assert isinstance(length, int)  # noqa: S101  (redis-py types its answers for sync and async at once)
    return length


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
