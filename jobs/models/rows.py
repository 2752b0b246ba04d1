"""Jobs from rows that were read without the ORM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models.base import ModelState

from jobs.models.job import Job


def job_from(names: Sequence[str], row: Sequence[Any]) -> Job:
    """A Job from a row that begins with the columns of these attributes; the others stay deferred.

    What Job.from_db does, without its walk over all sixty fields: each job passes here with every move and every look.
    """
    job = Job.__new__(Job)
    job._state = ModelState()
    job._state.adding, job._state.db = False, DEFAULT_DB_ALIAS
    job.__dict__.update(zip(names, row, strict=False))
    return job
