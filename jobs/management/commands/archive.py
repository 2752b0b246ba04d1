"""`manage.py archive FILE`: finished jobs as JSON Lines, with their attempts and events; removed then, if that is wanted."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from django.core.management.base import BaseCommand
from django.db.models.functions import Now

from jobs import queries, retention, rollup, schemas
from jobs.models import Job
from jobs.states import FINAL


class Command(BaseCommand):
    help = "Append finished jobs to a file of JSON Lines, oldest first; secret params are covered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--older-than-hours", type=float, default=1.0, help="finished longer ago than this (default: 1)")
        parser.add_argument("--delete", action="store_true", help="remove each job once its line is safely on the disk")

    def handle(self, *args: Any, file: Path, older_than_hours: float, delete: bool, **options: Any) -> None:
        older = timedelta(hours=older_than_hours)
        with file.open("ab") as out:
            number = _moved(out, older) if delete else _copied(out, older)
        self.stdout.write(f"{number} jobs {'moved' if delete else 'copied'} to {file}")


def _moved(out: BinaryIO, older: timedelta) -> int:
    while rollup.roll_up():
        pass
    total = 0
    while removed := retention.remove_old(older_than=older, before=lambda ids: _write(out, ids)):
        total += removed
    return total


def _copied(out: BinaryIO, older: timedelta) -> int:
    old = Job.objects.filter(status__in=FINAL, finished_at__lt=Now() - older).order_by("finished_at", "pk")
    ids = list(old.values_list("pk", flat=True))
    for start in range(0, len(ids), retention.BATCH):
        _write(out, ids[start : start + retention.BATCH])
    return len(ids)


def _write(out: BinaryIO, ids: list[str]) -> None:
    """Whole lines, on the disk when this returns."""
    for job in Job.objects.filter(pk__in=ids).order_by("finished_at", "pk"):
        whole = schemas.task_job(job, [parent.id for parent in queries.parents_of(job.pk)])
        line = whole.model_dump(by_alias=True, exclude_none=True) | {
            "attempts": [schemas.job_attempt(a).model_dump(by_alias=True, exclude_none=True) for a in queries.attempts_of(job.pk)],
            "events": [schemas.job_event(e).model_dump(by_alias=True, exclude_none=True) for e in queries.events_of(job.pk)],
        }
        out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    out.flush()
    os.fsync(out.fileno())
