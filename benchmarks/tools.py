"""Tools that the benchmarks measure with (JOBSITE_TOOLS=benchmarks.tools)."""

from __future__ import annotations

import time

from jobs.tools import JobContext, tool


@tool("bench.noop")
def noop() -> None:
    """Nothing."""


@tool("bench.tight")
def tight(job: JobContext, reports: int, report: bool = True) -> float:  # noqa: FBT001, FBT002  (params are named on the wire)
    """Seconds that a tight loop takes with, or without, a progress report in each turn."""
    began = time.perf_counter()
    for turn in range(reports):
        if report:
            job.progress(100 * turn / reports, "turning", stage="loop")
    return time.perf_counter() - began


@tool("bench.ticker")
def ticker(job: JobContext, ticks: int, pause: float) -> None:
    """Report the time of day, in milliseconds, as the message."""
    for tick in range(ticks):
        job.progress(100 * tick / ticks, f"{time.time() * 1000:.1f}", stage="ticking")
        time.sleep(pause)
