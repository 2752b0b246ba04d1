"""The first work of a new site, so that its first page is alive: a map of what Jobsite itself is built on."""

from __future__ import annotations

from jobs import lifecycle
from jobs.lifecycle import Submission

PACKAGES = ("django", "celery", "channels")
BATCH = "first-run"


def submit_first_work() -> list[str]:
    """Submit a code map of each package and their merge; returns the ids."""
    maps = [Submission(tool="codemap", params={"package": name}, id=f"{BATCH}.{name}", batch=BATCH) for name in PACKAGES]
    ids = [f"{BATCH}.{name}" for name in PACKAGES]
    merge = Submission(tool="codemap.merge", id=f"{BATCH}.merge", depends_on=ids, batch=BATCH)
    return [job.id for job in lifecycle.submit_many([*maps, merge], by="first run")]
