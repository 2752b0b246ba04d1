"""The polling contract, decided purely: does a look count, and how long should the poller wait before the next."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.states import FINAL, Status

FIRST_MS = {Status.PENDING: 5_000, Status.RUNNING: 2_000}
LONGEST_MS = 30_000
# A prediction from less than this share of the work is noise.
LEAST_PROGRESS = 5.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a job comes to. `wait_ms` is None for a finished job: there is nothing more to wait for."""

    counts: bool
    wait_ms: int | None


def remaining_ms(*, progress: float, elapsed_ms: float, estimated_ms: float | None = None) -> int | None:
    """How long a running job will go on, by its progress, else by the caller's estimate; None when nobody can tell."""
    if LEAST_PROGRESS <= progress <= 100:
        return round(max(0.0, elapsed_ms) * (100 - progress) / progress)
    if estimated_ms is not None and estimated_ms > elapsed_ms:
        return round(estimated_ms - max(0.0, elapsed_ms))
    return None


def interval_ms(status: str, looks: int, remaining: int | None = None) -> int | None:
    """The wait after the `looks`-th look (from 1) since the job's state changed; None for a finished job.

    It doubles with every look, from 5 s (pending) or 2 s (running) to 30 s. A predicted end is waited for instead.
    """
    if status in FINAL:
        return None
    first = FIRST_MS[Status(status)]
    if remaining is not None:
        return min(LONGEST_MS, max(first, remaining))
    # Past ten doublings the limit was reached long ago; the power must not grow with the number of looks.
    return min(LONGEST_MS, first << min(max(looks - 1, 0), 10))


def look(status: str, *, looks: int, since_last_ms: float | None, remaining: int | None = None) -> Look:
    """A look at a job that was looked at `looks` times since its state changed, last `since_last_ms` ago.

    One that comes too early is answered like any other, does not count, and is told what is left of the wait.
    """
    current = interval_ms(status, looks, remaining)
    if current is None:
        return Look(counts=False, wait_ms=None)
    if looks and since_last_ms is not None and (left := current - round(max(0.0, since_last_ms))) > 0:
        return Look(counts=False, wait_ms=left)
    return Look(counts=True, wait_ms=interval_ms(status, looks + 1, remaining))
