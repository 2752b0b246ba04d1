"""Idempotency keys: a submit that is sent again because its answer got lost makes no second job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.db import connection

from jobs.errors import Conflict, IdempotencyMismatch, InvalidRequest
from jobs.models import IdempotencyKey, Job

KEPT = "24 hours"
BATCH = 1000
_KEY = re.compile(r"[!-~]{1,200}")

# The second of two that come together waits here for the first one's end: if that was refused, the key is free.
_CLAIM = """
INSERT INTO jobs_idempotencykey (caller, key, digest, job_ids) VALUES (%(caller)s, %(key)s, %(digest)s, '[]')
ON CONFLICT (caller, key) DO UPDATE SET digest = EXCLUDED.digest, job_id = NULL, job_ids = '[]', at = now()
    WHERE jobs_idempotencykey.at < now() - %(kept)s::interval
RETURNING id
"""


def check(key: str) -> str:
    """Raises `InvalidRequest` for a key that is not 1 to 200 visible ASCII characters."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest("an Idempotency-Key has 1 to 200 visible ASCII characters")
    return key


def claim(caller: str, key: str, digest: str) -> list[Job] | None:
    """Within the submitting transaction: None when the key is the caller's to use, else the jobs it stands for.

    Raises `IdempotencyMismatch` when the key came with another body before, and `Conflict` when of its jobs some are gone.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"caller": caller, "key": key, "digest": digest, "kept": KEPT})
        if cursor.fetchone():
            return None
    known = IdempotencyKey.objects.get(caller=caller, key=key)
    if known.digest != digest:
        raise IdempotencyMismatch(f"the Idempotency-Key {key!r} came with another body before; use a new key for a new request")
    found = Job.objects.in_bulk(known.job_ids)
    if len(found) < len(known.job_ids):
        raise Conflict(f"some of the jobs that the Idempotency-Key {key!r} stands for were removed meanwhile")
    return [found[job] for job in known.job_ids]


def settle(caller: str, key: str, jobs: Sequence[Job]) -> None:
    """The key goes when the first of its jobs goes."""
    IdempotencyKey.objects.filter(caller=caller, key=key).update(job=jobs[0], job_ids=[job.id for job in jobs])


def forget_old() -> int:
    """Delete what is too old to mean anything; at most BATCH at a time, and how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM jobs_idempotencykey WHERE id IN (SELECT id FROM jobs_idempotencykey"
            " WHERE at < now() - %s::interval ORDER BY at LIMIT %s)",
            [KEPT, BATCH],
        )
        return int(cursor.rowcount)
