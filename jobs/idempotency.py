"""Idempotency keys: a submit that is sent again because its answer got lost makes no second job."""

from __future__ import annotations

import re

from django.db import connection

from jobs.errors import IdempotencyMismatch, InvalidRequest
from jobs.models import IdempotencyKey, Job

KEPT = "24 hours"
BATCH = 1000
_KEY = re.compile(r"[!-~]{1,200}")

# The second of two that come together waits here for the first one's end: if that was refused, the key is free.
_CLAIM = """
INSERT INTO jobs_idempotencykey (caller, key, digest) VALUES (%(caller)s, %(key)s, %(digest)s)
ON CONFLICT (caller, key) DO UPDATE SET digest = EXCLUDED.digest, job_id = NULL, at = now()
    WHERE jobs_idempotencykey.at < now() - %(kept)s::interval
RETURNING id
"""


def check(key: str) -> str:
    """Raises `InvalidRequest` for a key that is not 1 to 200 visible ASCII characters."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest("an Idempotency-Key has 1 to 200 visible ASCII characters")
    return key


def claim(caller: str, key: str, digest: str) -> Job | None:
    """Within the submitting transaction: None when the key is the caller's to use, else the job it stands for.

    Raises `IdempotencyMismatch` when the key came with another body before.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"caller": caller, "key": key, "digest": digest, "kept": KEPT})
        if cursor.fetchone():
            return None
    known = IdempotencyKey.objects.select_related("job").get(caller=caller, key=key)
    if known.digest != digest:
        raise IdempotencyMismatch(f"the Idempotency-Key {key!r} came with another body before; use a new key for a new request")
    return known.job


def settle(caller: str, key: str, job: Job) -> None:
    IdempotencyKey.objects.filter(caller=caller, key=key).update(job=job)


def forget_old() -> int:
    """Delete what is too old to mean anything; at most BATCH at a time, and how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM jobs_idempotencykey WHERE id IN (SELECT id FROM jobs_idempotencykey"
            " WHERE at < now() - %s::interval ORDER BY at LIMIT %s)",
            [KEPT, BATCH],
        )
        return int(cursor.rowcount)
