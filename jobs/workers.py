"""Who is there to do the work: Celery workers, external workers, and the dispatcher that leads."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from typing import Any

import psutil
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from jobs.models import Worker

MB = 1024 * 1024
BEAT = 5.0
ALIVE_FOR = timedelta(seconds=20)
# Key of the advisory lock that the leading dispatcher holds: "jobs" in ASCII.
LEADER_LOCK = 0x6A6F6273


def name_of_this(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}"


def appear(pid: int, *, slots: int, queues: list[str]) -> bool:
    """Say that the worker of process `pid` is there, and how its host is; true when it shall take nothing new."""
    memory = psutil.virtual_memory()
    common: dict[str, Any] = {
        "slots": slots,
        "queues": queues,
        "beat_at": Now(),
        "stopped_at": None,
        "memory_mb": (memory.total - memory.available) / MB,
        "memory_total_mb": memory.total / MB,
        "cpu_percent": psutil.cpu_percent(),
    }
    worker, _ = Worker.objects.update_or_create(
        name=name_of_this(pid),
        defaults=common,
        create_defaults=common | {"host": socket.gethostname(), "pid": pid, "started_at": Now()},
    )
    return worker.draining_at is not None


# Slots: what it asks for, and what it runs. So its tools are given as many slots as it can use.
_ASK = """
INSERT INTO jobs_worker AS w (name, host, pid, slots, queues, tools, started_at, beat_at, drained_by, memory_mb, memory_total_mb,
    cpu_percent)
VALUES (%(name)s, %(host)s, 0, %(most)s, '["external"]', to_jsonb(%(tools)s::text[]), now(), now(), '', 0, 0, 0)
ON CONFLICT (name) DO UPDATE SET host = EXCLUDED.host, tools = EXCLUDED.tools, beat_at = now(), stopped_at = NULL,
    slots = %(most)s + (SELECT count(*) FROM jobs_attempt WHERE state = 'running' AND worker = %(name)s)
RETURNING draining_at IS NULL
"""
_HEARD = """
UPDATE jobs_worker w SET beat_at = now() FROM jobs_attempt a
WHERE a.id = %(attempt)s AND w.name = a.worker AND w.beat_at < now() - interval '1 second'
"""
_DEMAND = """
SELECT t.name, COALESCE(sum(w.slots), 0)::int FROM jobs_externaltool t LEFT JOIN jobs_worker w
    ON w.tools ? t.name AND w.stopped_at IS NULL AND w.draining_at IS NULL
    AND w.beat_at > now() - make_interval(secs => %(patience)s)
GROUP BY 1
"""


def ask_for_work(name: str, *, host: str, tools: list[str], most: int) -> bool:
    """An external worker says that it is there, and would run up to `most` further jobs of these tools. False: it is drained."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK, {"name": name, "host": host, "tools": tools, "most": most})
        return bool(cursor.fetchone()[0])


def was_heard(attempt_id: int) -> None:
    """A report of the attempt is a sign of life of its worker."""
    with connection.cursor() as cursor:
        cursor.execute(_HEARD, {"attempt": attempt_id})


def demand() -> dict[str, int]:
    """For every external tool, how many of its jobs the external workers that are there can run at once."""
    with connection.cursor() as cursor:
        cursor.execute(_DEMAND, {"patience": ALIVE_FOR.total_seconds()})
        return dict(cursor.fetchall())


def leave(pid: int) -> None:
    Worker.objects.filter(name=name_of_this(pid)).update(stopped_at=Now())


def alive() -> list[Worker]:
    """Workers that gave a sign of life lately, by the database clock."""
    return list(Worker.objects.filter(stopped_at=None, beat_at__gt=Now() - ALIVE_FOR).order_by("name"))


def lately() -> list[Worker]:
    """Everyone who was there in the last day, who is there now first."""
    return list(Worker.objects.filter(beat_at__gt=Now() - timedelta(days=1)).order_by("stopped_at", "-beat_at", "name")[:200])


def is_alive(worker: Worker, now: datetime) -> bool:
    return worker.stopped_at is None and now - worker.beat_at < ALIVE_FOR


# A doorbell that was rung three times is heard by anybody who listens. External workers ask; they are not rung.
_DEAF = """
SELECT w.name FROM jobs_worker w
WHERE w.stopped_at IS NULL AND w.draining_at IS NULL AND w.tools = '[]' AND w.beat_at > now() - make_interval(secs => %(alive)s)
    AND w.slots > (SELECT count(*) FROM jobs_attempt r WHERE r.state = 'running' AND r.worker = w.name)
    AND EXISTS (SELECT 1 FROM jobs_attempt a WHERE a.state = 'admitted' AND a.rings >= 3 AND w.queues @> to_jsonb(a.queue)
        AND a.admitted_at < now() - make_interval(secs => %(patience)s))
ORDER BY w.name
"""


def deaf() -> list[str]:
    """Workers that say they are there and have processes free, but do not start what is rung again and again."""
    patience = 3 * settings.JOBSITE_START_TIMEOUT
    with connection.cursor() as cursor:
        cursor.execute(_DEAF, {"alive": ALIVE_FOR.total_seconds(), "patience": patience})
        return [name for (name,) in cursor.fetchall()]


# Of whoever holds the lock and has asked the database nothing for a while: it hangs, or is cut off. Ending its connection is the
# fence: should it go on after all, its next query fails and it stands by.
_DEPOSE = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objid = %(lock)s AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND a.state LIKE 'idle%%' AND a.state_change < clock_timestamp() - make_interval(secs => %(silent)s)
"""


def depose_silent_leader(seconds: float) -> bool:
    """End the connection of a leading dispatcher that was silent for so long; true when there was one."""
    with connection.cursor() as cursor:
        cursor.execute(_DEPOSE, {"lock": LEADER_LOCK, "silent": seconds})
        return cursor.fetchone() is not None


def lead(lock: int = LEADER_LOCK) -> bool:
    """Try to become the leading dispatcher, or the one that `lock` stands for; it lasts as long as this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        return bool(cursor.fetchone()[0])


def dispatcher_alive() -> bool:
    """Does some dispatcher hold the leader's lock?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            [LEADER_LOCK],
        )
        return bool(cursor.fetchone()[0])
