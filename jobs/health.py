"""Is everything there that the site needs? For load balancers (healthz, readyz) and, with advice, for people."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs import redis_link, statistics, workers

log = logging.getLogger(__name__)

# A ready job that waits longer than this while something could run it deserves a look.
LONG_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. `hint` says what to do, and is empty when all is well."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers. Asks nothing of the database: a process is not restarted because that is away."""
    return JsonResponse({"healthy": True})


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """This process can do its work; 503 with the names of what is missing otherwise."""
    failed = [check.name for check in essentials() if not check.ok]
    return JsonResponse({"ready": not failed, "failed": failed}, status=503 if failed else 200)


def essentials() -> list[Check]:
    """What every request needs."""
    database = _database()
    return [database, _redis(), *([_migrations()] if database.ok else [])]


def everything() -> list[Check]:
    """The essentials, and whether jobs get done."""
    checks = essentials()
    if any(not check.ok for check in checks if check.name != "redis"):
        return checks
    return [*checks, _workers(), _dispatcher(), *_queue(), _fences()]


def _database() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            version = cursor.fetchone()[0]
    except (DatabaseError, InterfaceError) as error:
        log.warning("the database does not answer: %s", error)
        hint = "Start PostgreSQL, or correct DATABASE_URL. The log of the server has the reason."
        return Check(name="database", ok=False, detail="does not answer", hint=hint)
    return Check(name="database", ok=True, detail=f"PostgreSQL {version}")


def _redis() -> Check:
    try:
        redis_link.connection().ping()
    except (redis.RedisError, OSError) as error:
        log.warning("Redis does not answer: %s", error)
        hint = "Start Redis, or correct REDIS_URL. Until then jobs are kept, but not started."
        return Check(name="redis", ok=False, detail="does not answer", hint=hint)
    return Check(name="redis", ok=True, detail="answers")


@functools.cache
def _leaves() -> frozenset[tuple[str, str]]:
    """The last migration of every app; read from disk once a process."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _migrations() -> Check:
    missing = sorted(_leaves() - set(MigrationRecorder(connection).applied_migrations()))
    if missing:
        names = ", ".join(f"{app}.{name}" for app, name in missing)
        return Check(name="migrations", ok=False, detail=f"not applied: {names}", hint="Run `manage.py migrate`.")
    return Check(name="migrations", ok=True, detail="all applied")


def _workers() -> Check:
    alive = workers.alive()
    if not alive:
        return Check(
            name="workers",
            ok=False,
            detail="no worker has given a sign of life lately",
            hint="Start one: `celery -A jobsite worker`, or `manage.py up` for everything.",
        )
    if deaf := workers.deaf():
        hint = "Start it anew: it beats, but takes no doorbell. Its log, and whether it reaches Redis, may say why."
        return Check(name="workers", ok=False, detail=f"deaf: {', '.join(deaf[:10])}", hint=hint)
    now = timezone.now()
    told = ", ".join(f"{worker.name} ({worker.slots} slots, {_ago(worker.beat_at, now)})" for worker in alive[:10])
    return Check(name="workers", ok=True, detail=f"{len(alive)}: {told}")


def _dispatcher() -> Check:
    if workers.dispatcher_alive():
        return Check(name="dispatcher", ok=True, detail="one leads")
    hint = "Start it: `manage.py dispatcher`, or `manage.py up` for everything."
    return Check(name="dispatcher", ok=False, detail="none leads: no job will start", hint=hint)


def _queue() -> list[Check]:
    queue = statistics.queue_status()
    wait = statistics.oldest_ready_wait()
    late = wait > LONG_WAIT
    hint = "More wants to run than may: add workers, or raise the limits in the queue configuration."
    return [
        Check(name="queue", ok=True, detail=f"{queue.queue_length} pending, {queue.running} running"),
        Check(name="oldest wait", ok=not late, detail=f"{_span(wait)} for the next ready job", hint=hint if late else ""),
    ]


def _fences() -> Check:
    refused = statistics.refused_writes()
    detail = f"{refused} late writes refused" if refused else "no late write was refused"
    return Check(name="fences", ok=True, detail=detail)


def _ago(moment: datetime, now: datetime) -> str:
    return f"seen {_span(max(now - moment, timedelta()))} ago"


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    units: Iterable[tuple[float, str]] = ((86400, "d"), (3600, "h"), (60, "min"))
    return next((f"{seconds / size:.1f} {unit}" for size, unit in units if seconds >= size), f"{seconds:.1f} s")
