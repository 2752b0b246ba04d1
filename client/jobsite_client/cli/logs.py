"""`jobsite logs`: the lines that a job wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobsite_client.client import Client
from jobsite_client.shapes import JobStatus, Shape

# A look carries this many lines, the newest; the whole job has more.
LOOK = 100


class Line(Shape):
    job_id: str
    line: str


def lines(client: Client, job_id: str) -> list[str]:
    """All that are kept."""
    return client.diagnostics(job_id)


def follow(client: Client, job_id: str) -> Iterator[str]:
    """All lines, then each new one until the job is finished."""
    seen: list[str] = []
    for status in client.follow(job_id):
        fresh = _fresh(client, status, seen)
        yield from fresh
        seen = [*seen, *fresh][-1000:]


def _fresh(client: Client, status: JobStatus, seen: Sequence[str]) -> list[str]:
    now = status.details.diagnostics
    overlap = _overlap(seen, now)
    if len(now) == LOOK and not overlap:
        # More were written since the last look than one carries.
        now = lines(client, status.job_id)
        overlap = _overlap(seen, now)
    return now[overlap:]


def _overlap(seen: Sequence[str], now: Sequence[str]) -> int:
    """How many of the first lines of `now` were the last ones seen; only the newest are kept, so they move."""
    for length in range(min(len(seen), len(now)), 0, -1):
        if list(seen[-length:]) == list(now[:length]):
            return length
    return 0
