"""The verb that stores what a running attempt leaves for the next."""

from __future__ import annotations

from jobs.lifecycle.admitting import Running
from jobs.lifecycle.rows import fetch

# No move, so no version and no Event. What the attempt of a fallback would leave is fenced like all it writes.
_KEEP = """
UPDATE jobs_job SET checkpoint = %(data)s::jsonb
WHERE id = %(job)s AND current_attempt_id = %(attempt)s AND status = 'running' RETURNING 1
"""


def keep_checkpoint(running: Running, data: str) -> bool:
    """`data` is JSON. False: the attempt was superseded, and nothing was stored."""
    return bool(fetch(_KEEP, {"data": data, "job": running.job.id, "attempt": running.attempt_id}))
