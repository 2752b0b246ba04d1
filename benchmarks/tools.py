"""Tools that the benchmarks measure with (JOBSITE_TOOLS=benchmarks.tools)."""

from __future__ import annotations

import os
import time

from jobs.tools import JobContext, tool

MARKS = os.environ.get("BENCH_MARKS")


@tool("bench.noop")
def noop() -> None:
    """Nothing but the one byte that the peers' jobs write too, where a file for it is named."""
    if MARKS:
        handle = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, b".")
        os.close(handle)


@tool("bench.nap")
def nap(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


@tool("bench.fail")
def fail(text: str) -> None:
    """Raise what no retry helps against."""
    raise ValueError(text)


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
