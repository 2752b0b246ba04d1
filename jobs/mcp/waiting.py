"""Waiting for a job to end, or to ask something: woken by the one subscription of the process, as long polls are."""

from __future__ import annotations

import asyncio
import sys
import time

from channels.db import database_sync_to_async

from jobs.api.following import Hold, Topic
from jobs.api.holding import board
from jobs.models import Job
from jobs.sight import Sight, find
from jobs.states import Gate

# A wake-up may get lost: looked at again after so long all the same; seconds.
HEAL = 10.0


async def until_settled(job_id: str, seconds: float, sight: Sight) -> None:
    """At most so long. Raises `NotFound`."""
    until = time.monotonic() + seconds
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    while True:
        asked_at = time.monotonic()
        # Gives its connection back: who waits holds none.
        job = await database_sync_to_async(find)(job_id, sight)
        left = until - time.monotonic()
        if _is_settled(job) or left <= 0:
            return
        # A move, not progress: whatever the tick, the version is still the same.
        hold = Hold(topic=Topic(kind="job", names=frozenset({job_id})), seen=(job.version, sys.maxsize))
        await board().wait(hold, asked_at, min(left, HEAL), never)


def _is_settled(job: Job) -> bool:
    return job.is_final or job.gate == Gate.INPUT
