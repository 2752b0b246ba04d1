"""How a job goes on as another tool: its part of an end (see ends)."""

from __future__ import annotations

import orjson

from jobs.failures import Failure
from jobs.lifecycle.rows import RETURNED, jobs_from
from jobs.models import Job
from jobs.retry import ContinueAs

# The end has just been written in the same transaction, so the job is locked and pending. What the caller asked for stays, but for
# what the other tool says of itself; it begins with all its retries, and without what the first had left for its own next attempt.
_CONTINUE = f"""
UPDATE jobs_job j SET tool = %(tool)s, queue = %(queue)s, timeout_ms = COALESCE(%(timeout)s, timeout_ms),
    max_retries = COALESCE(%(max)s, max_retries), retry_first_ms = COALESCE(%(first)s, retry_first_ms),
    retry_factor = COALESCE(%(factor)s, retry_factor), retry_cap_ms = COALESCE(%(cap)s, retry_cap_ms),
    retry_count = 0, checkpoint = NULL, version = version + 1,
    fallbacks = fallbacks || (
        %(gave_up)s::jsonb || jsonb_build_object('toolName', tool, 'at', (EXTRACT(EPOCH FROM now()) * 1000)::bigint))
WHERE id = %(job)s RETURNING {RETURNED}
"""


def continue_as(job_id: str, attempt_id: int, other: ContinueAs, failure: Failure) -> Job:
    """Keeps who gave up, why and when; `failure` is the last of the tool that did."""
    gave_up = {
        "reason": f"{failure.error_class}: {failure.message}"[:500] + f" ({other.reason})",
        "errorClass": failure.error_class,
        "errorCategory": failure.category.value,
        "attempt": attempt_id,
    }
    retry = other.retry
    params = {
        "job": job_id,
        "tool": other.tool,
        "queue": other.queue,
        "timeout": other.timeout_ms,
        "max": retry.max if retry else None,
        "first": round(retry.first * 1000) if retry else None,
        "factor": retry.factor if retry else None,
        "cap": round(retry.cap * 1000) if retry else None,
        "gave_up": orjson.dumps(gave_up).decode(),
    }
    return jobs_from(_CONTINUE, params)[0]
