"""Jobs that run, without a worker that runs them: for what watches them."""

from __future__ import annotations

from jobs import admission, configuration, lifecycle
from jobs.lifecycle import Child, Submission

LEASE = 3600.0


def begin(number: int) -> list[str]:
    """The ids of so many running jobs, at version 3."""
    made = lifecycle.submit_many(
        [Submission(tool="workflow.replay", params={"task": "t", "seconds": 1}) for _ in range(number)], by="bench"
    )
    ids = [job.id for job in made]
    configuration.row()
    for job in lifecycle.admit(ids, config=admission.outlook().config):
        lifecycle.start(job.current_attempt_id or 0, Child(worker="bench:1", pid=job.current_attempt_id or 0, lease=LEASE))
    return ids
