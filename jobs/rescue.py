"""Attempts whose process is gone, or that nobody begins: their job goes on."""

from __future__ import annotations

import logging
import random

from django.conf import settings

from jobs import lifecycle, workers
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import RETURNED, fetch, job_of
from jobs.retry import decide_lost

log = logging.getLogger(__name__)

# An attempt that was rung so often and not begun is replaced by another.
MOST_RINGS = 4

# The longest over first.
EXPIRED = f"""
SELECT {RETURNED}, a.id, a.worker, a.pid FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
WHERE a.state = 'running' AND a.lease_until < now() AND j.current_attempt_id = a.id
ORDER BY a.lease_until LIMIT 200
"""


def rescue_lost() -> int:
    """Lose every attempt whose lease is over; returns how many. A beat that comes first wins, see lifecycle.lose."""
    lost = 0
    for *columns, attempt_id, worker, pid in fetch(EXPIRED, {}):
        job = job_of(columns)
        running = lifecycle.Running(attempt_id=attempt_id, job=job, params={}, previous_errors=job.retry_count + job.loss_count)
        decision = decide_lost(losses=job.loss_count, jitter=random.random())  # noqa: S311  (spreads load, guards nothing)
        failpoint("lose.before")
        if lifecycle.lose(running, decision, actor="dispatcher") is not None:
            log.warning("lost %s on %s pid %s: its lease was not renewed", job.id, worker, pid)
            lost += 1
            failpoint("lose.after")
    return lost


def replace_unanswered() -> int:
    """Give up admitted attempts that nobody begins, whatever is wrong with them; their jobs get others. How many."""
    replaced = lifecycle.withdraw_unanswered(
        rings=MOST_RINGS, patience=settings.JOBSITE_START_TIMEOUT, alive=workers.ALIVE_FOR.total_seconds()
    )
    for job in replaced:
        log.warning("an attempt at %s was rung again and again, and not begun: it is replaced", job.id)
    return len(replaced)
