"""Jobs that run, without a worker that runs them: for what watches them."""

from __future__ import annotations

from jobs import admission, configuration, lifecycle
from jobs.lifecycle import Child, Submission
from jobs.models import Attempt

LEASE = 3600.0


def begin(number: int) -> list[str]:
    """The ids of so many running jobs, at version 3."""
    made = lifecycle.submit_many(
        [Submission(tool="workflow.replay", params={"task": "t", "seconds": 1}) for _ in range(number)], by="bench"
    )
    ids = [job.id for job in made]
    configuration.row()
    left = set(ids)
    while left:
        # A dispatcher that runs may be quicker.
        lifecycle.admit(sorted(left), config=admission.outlook().config)
        for attempt in Attempt.objects.filter(job__in=left, state="admitted"):
            if lifecycle.start(attempt.id, Child(worker="bench:1", pid=attempt.id, lease=LEASE)):
                left.discard(attempt.job_id)
    return ids
