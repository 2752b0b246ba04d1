"""Tools for real workers (JOBSITE_TOOLS=tests.jobs.partialtools): they leave something of their work, or fill a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobs.errors import Permanent
from jobs.retry import Retry
from jobs.tools import JobContext, tool


@tool("partial.steps", retry=Retry(max=2, first=0, cap=0))
def steps(job: JobContext, note: str) -> dict[str, object]:
    """Two steps; the process is killed after the first, as soon as it is told to."""
    done = (job.checkpoint_data or {}).get("done", [])
    if "first" in done:
        return {"found": done, "folder": str(job.workdir), "files": sorted(file.name for file in job.workdir.iterdir())}
    (job.workdir / "half").write_text("x")
    job.checkpoint({"done": ["first"]})
    Path(note).write_text(f"{os.getpid()} {job.workdir}")
    while True:
        job.progress(50, "waits for the worst")
        time.sleep(0.05)


@tool("partial.filler", retry=Retry(max=0))
def filler(job: JobContext, megabytes: int) -> str:
    """Write so much, a megabyte at a time, and wait for a moment."""
    for n in range(megabytes):
        (job.workdir / f"part{n}").write_bytes(b"x" * 1024 * 1024)
        time.sleep(0.01)
    time.sleep(1)
    return str(job.workdir)


@tool("partial.gives-up", fallback="partial.takes-over", retry=Retry(max=1, first=0, cap=0))
def gives_up(job: JobContext) -> None:
    """Fail, then fail for good."""
    if job.checkpoint_data is None:
        job.checkpoint("tried")
        raise ConnectionError("away")
    raise Permanent(f"found {job.checkpoint_data}")


@tool("partial.takes-over")
def takes_over(job: JobContext) -> str:
    """Work, and know nothing of what another tool has left."""
    return f"took over, found {job.checkpoint_data}"


_KEPT: list[bytes] = []


@tool("partial.leak", retry=Retry(max=0))
def leak(megabytes: int) -> int:
    """Keep so much for ever; the process it ran in."""
    _KEPT.append(os.urandom(1024 * 1024) * megabytes)
    return os.getpid()
