"""`manage.py doctor`: is everything in the database as it must be? Says what is not, and mends what it safely can."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs import doctor
from jobs.invariants import Finding

# Of one rule, printed to a person.
MOST = 20


class Command(BaseCommand):
    help = "Replay the event log against the rows and check every invariant. Ends with 1 if something is wrong and was not mended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--fix", action="store_true", help="mend what can safely be computed anew; never how a job has ended")
        parser.add_argument("--json", action="store_true", help="print a line of JSON for each finding, and one for the whole")

    def handle(self, *args: Any, fix: bool, json: bool, **options: Any) -> None:
        found, mended, seen = Counter[str](), 0, 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("jobs", total=doctor.total())

            def looked_at(jobs: int) -> None:
                nonlocal seen
                seen += jobs
                progress.advance(bar, jobs)

            for finding in doctor.examine(mending=fix, looked_at=looked_at):
                found[finding.rule] += 1
                mended += finding.mended
                self._tell(finding, found[finding.rule], as_json=json)
        self._sum_up(found, mended, seen, as_json=json)
        if found.total() > mended:
            raise SystemExit(1)

    def _tell(self, finding: Finding, place: int, *, as_json: bool) -> None:
        if as_json:
            told = {"rule": finding.rule, "subject": finding.subject, "text": finding.text}
            self.stdout.write(json.dumps(told | {"mendable": bool(finding.mend), "mended": finding.mended}))
        elif place <= MOST:
            state = "mended" if finding.mended else "--fix mends it" if finding.mend else "look into it"
            self.stdout.write(f"{finding.rule}: {finding.subject}: {finding.text} ({state})")

    def _sum_up(self, found: Counter[str], mended: int, seen: int, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"jobs": seen, "found": dict(found), "mended": mended}))
            return
        for rule, number in found.items():
            if number > MOST:
                self.stdout.write(f"{rule}: {number - MOST} more")
        verdict = f"{found.total()} findings, {mended} mended" if found else "all is as it must be"
        self.stdout.write(f"{seen} jobs looked at: {verdict}")
