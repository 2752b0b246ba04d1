"""What the pages cost with a million jobs: server time and queries of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, scratch_database


def measure(*, short: bool) -> Report:
    """Fills a database, then asks for each page; percentiles of the time from request to answer, in the process that answers."""
    number, times = (3000, 3) if short else (1_000_000, 30)
    seen = _pages(number, times)
    report = Report(name="list", figures={"jobs": number, "fill_s": seen["fill_s"]})
    for page, figures in seen["pages"].items():
        report.figures |= {f"{page}_{name}": value for name, value in figures.items()}
        report.goals.append(Goal(figure=f"{page}_p95_ms", at_most=100))
    report.notes.append("cold: nothing is remembered between two requests, as for the first of many viewers")
    return report


def _pages(number: int, times: int) -> dict[str, Any]:
    with scratch_database() as url:
        env = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "jobsite.settings", "JOBSITE_REDIS_PREFIX": "list"}
        for command in (
            ["manage.py", "migrate", "--verbosity", "0"],
            ["-m", "benchmarks.list_pages", str(number), str(times)],
        ):
            done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr[-3000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
