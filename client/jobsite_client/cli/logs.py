"""`jobsite logs`: the lines that a job wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from jobsite_client.client import Client
from jobsite_client.shapes import Shape

# Seconds between two looks. Lines are stored by the second; what is pushed before is not yet all that there is.
EVERY = 1.0


class Line(Shape):
    job_id: str
    line: str


def follow(client: Client, job_id: str) -> Iterator[str]:
    """All lines that are kept, then each new one until the job is finished."""
    seen: list[str] = []
    while True:
        # The status first: what was written before the end is among the lines that are read after it.
        is_final = client.get(job_id).is_final
        now = client.diagnostics(job_id)
        yield from now[_overlap(seen, now) :]
        if is_final:
            return
        seen = now
        time.sleep(EVERY)


def _overlap(seen: Sequence[str], now: Sequence[str]) -> int:
    """How many of the first lines of `now` were the last ones seen; only the newest are kept, so they move."""
    for length in range(min(len(seen), len(now)), 0, -1):
        if list(seen[-length:]) == list(now[:length]):
            return length
    return 0
