"""The verb that changes what a pending job needs, and how long, how often and when it may run."""

from __future__ import annotations

from django.db import transaction

from jobs import configuration, events
from jobs.changes import COLUMNS, Change, reason_of
from jobs.lifecycle.holding import as_it_is, lock_configuration, withdraw_one
from jobs.lifecycle.rows import GATE, RETURNED, jobs_from
from jobs.models import Job
from jobs.states import Status

# The gate by the time that is to hold, not by the one that is in the row still.
_NEW_GATE = GATE.replace("j.run_at", "%(run_at)s::timestamptz")
_CHANGE = f"""
WITH moved AS (
    UPDATE jobs_job j SET memory_mb = %(memory_mb)s, cpu_weight = %(cpu_weight)s, disk_mb = %(disk_mb)s,
        timeout_ms = %(timeout_ms)s, max_retries = %(max_retries)s, retry_first_ms = %(retry_first_ms)s,
        retry_factor = %(retry_factor)s, retry_cap_ms = %(retry_cap_ms)s, concurrency_key = %(concurrency_key)s,
        concurrency_limit = %(concurrency_limit)s, run_at = %(run_at)s, expires_at = %(expires_at)s, gate = {_NEW_GATE},
        gate_since = CASE WHEN gate = {_NEW_GATE} THEN gate_since ELSE now() END, version = version + 1, updated_at = now()
    WHERE id = %(job)s AND status = 'pending'
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'change', 'pending', 'pending', %(reason)s, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def change(job_id: str, wanted: Change, *, by: str) -> Job:
    """Give a pending job other limits; what was admitted and has not begun waits again.

    Raises `NotFound`, `IllegalMove` (it is not pending), `RequirementTooLarge` or `InvalidRequest`; then nothing was changed.
    """
    limits = configuration.limits()
    with transaction.atomic():
        # 1. No round that has chosen this job by what it needed before can admit it after this.
        if wanted.tells_admission:
            lock_configuration()
        # 2. The job, as it is until the end of this transaction.
        job = Job.objects.select_for_update(no_key=True).filter(id=job_id).only("status", *COLUMNS).first()
        if job is None or job.status != Status.PENDING:
            return as_it_is(job_id, "changed")
        before = {name: getattr(job, name) for name in COLUMNS}
        after = wanted.over(before, limits)
        if after == before:
            return as_it_is(job_id, "changed")
        # 3. An attempt that was admitted holds what the job needed before.
        withdraw_one(job_id, by=by, reason="its limits were changed")
        moved = jobs_from(_CHANGE, after | {"job": job_id, "by": by, "reason": reason_of(before, after)})
        events.announce(map(events.delta_of, moved), poke=True)
    return moved[0]
