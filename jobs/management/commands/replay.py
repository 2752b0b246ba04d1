"""`manage.py replay FILE`: run a recorded workflow as jobs, and compare how long it took with what was possible."""

from __future__ import annotations

import json
import math
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, F, Max, Min, Q
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs import configuration, lifecycle
from jobs.builtin.wfformat import Bounds, BrokenWorkflow, Task, bounds, read
from jobs.errors import Refused
from jobs.lifecycle import Submission
from jobs.limits import Resources
from jobs.models import Dependency, Job
from jobs.states import FINAL, Status
from jobs.submission import new_id

LOOK_EVERY = 0.2
SILENCE = 10.0
MB = 1024 * 1024


class Command(BaseCommand):
    help = "Replay a recorded workflow (WfFormat JSON, plain or .gz) as one batch of jobs and print how it went."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--scale", type=float, default=0.001, help="recorded seconds are multiplied by this (default 0.001)")
        parser.add_argument("--memory", action="store_true", help="hold the recorded memory, and ask for it")
        parser.add_argument("--cpu", action="store_true", help="burn the recorded share of a core")
        parser.add_argument("--log", help="file that each task appends a JSON line to")
        parser.add_argument("--timeout", type=float, default=3600, help="give up waiting after so many seconds")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["scale"] <= 1000:
            raise CommandError("--scale must be above 0 and at most 1000")
        try:
            tasks = read(options["file"])
        except BrokenWorkflow as error:
            raise CommandError(str(error)) from None
        batch = new_id("replay")
        try:
            lifecycle.submit_many(_submissions(tasks, batch, options), by="replay")
        except Refused as error:
            raise CommandError(f"the workflow was refused: {error}") from None
        try:
            _follow(batch, len(tasks), options["timeout"])
        except KeyboardInterrupt:
            raise CommandError(f"no longer following; the jobs of batch {batch} go on") from None
        figures = _figures(batch, tasks, options["scale"])
        self._show(figures, as_json=options["json"])
        if figures["failed"] or figures["order_violations"]:
            raise CommandError(f"{figures['failed']} failed, {figures['order_violations']} started before a parent had finished")

    def _show(self, figures: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(figures))
            return
        for name, value in figures.items():
            self.stdout.write(f"{name:<18}{value:>14,.3f}" if isinstance(value, float) else f"{name:<18}{value:>14}")


def _submissions(tasks: list[Task], batch: str, options: dict[str, Any]) -> list[Submission]:
    ids = {task.id: f"{batch}.{number}" for number, task in enumerate(tasks, start=1)}
    return [_submission(task, ids, batch, options) for task in tasks]


def _submission(task: Task, ids: dict[str, str], batch: str, options: dict[str, Any]) -> Submission:
    memory_mb = math.ceil(task.memory_bytes / MB) if options["memory"] else 0
    params: dict[str, Any] = {"task": task.name[:300], "seconds": task.seconds * options["scale"], "memory_mb": memory_mb}
    if options["cpu"]:
        params["cpu_percent"] = min(100.0, task.cpu_percent)
    if options["log"]:
        params["log"] = str(Path(options["log"]).resolve())
    return Submission(
        tool="workflow.replay",
        id=ids[task.id],
        params=params,
        depends_on=sorted((ids[parent] for parent in task.parents), key=len),
        resources=Resources(memory_mb=memory_mb),
        timeout_ms=max(60_000, round(params["seconds"] * 3000)),
        batch=batch,
    )


def _follow(batch: str, total: int, timeout: float) -> None:
    """Until all are final. Says so when nothing starts."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began, warned = time.monotonic(), False
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("replaying", total=total)
        while True:
            seen = _states(batch)
            progress.update(bar, completed=seen["done"], description=f"{seen['running']} running, {seen['failed']} failed")
            if seen["done"] == total:
                return
            waited = time.monotonic() - began
            if waited > timeout:
                raise CommandError(f"not done after {timeout:g} s; the jobs of batch {batch} go on")
            if waited > SILENCE and not warned and not (seen["done"] or seen["running"]):
                warned = True
                console.print("nothing has started yet: is a worker and a dispatcher running (`manage.py up`)?")
            time.sleep(LOOK_EVERY)


def _states(batch: str) -> dict[str, int]:
    return Job.objects.filter(batch=batch).aggregate(
        done=Count("pk", filter=Q(status__in=FINAL)),
        running=Count("pk", filter=Q(status=Status.RUNNING)),
        failed=Count("pk", filter=Q(status__in=FINAL - {Status.COMPLETED})),
    )


def _figures(batch: str, tasks: list[Task], scale: float) -> dict[str, Any]:
    """Makespan is first start to last finish by the database clock; submitting is not part of it."""
    slots = configuration.limits().max_concurrent
    jobs = Job.objects.filter(batch=batch)
    span = jobs.aggregate(first=Min("started_at"), last=Max("finished_at"))
    makespan = (span["last"] - span["first"]).total_seconds() if span["first"] else 0.0
    limits: Bounds = bounds(tasks, slots)
    early = Dependency.objects.filter(job__batch=batch, job__started_at__lt=F("parent__finished_at"))
    lb2 = limits.lb2 * scale
    return {
        "batch": batch,
        "tasks": len(tasks),
        "edges": sum(len(task.parents) for task in tasks),
        "slots": slots,
        "scale": scale,
        "makespan_s": makespan,
        "critical_path_s": limits.critical_path * scale,
        "lb2_s": lb2,
        "graham_s": limits.graham * scale,
        "ratio": makespan / lb2 if lb2 else 0.0,
        "order_violations": early.count(),
        "failed": jobs.exclude(status=Status.COMPLETED).count(),
    }
