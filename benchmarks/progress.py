"""What `job.progress()` costs a tool."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, Stack


def run_jobs(stack: Stack, tool: str, params: dict[str, object], count: int) -> dict[str, object]:
    env = stack.env | {"DJANGO_SETTINGS_MODULE": "jobsite.settings"}
    command = [sys.executable, "-m", "benchmarks.django_jobs", tool, json.dumps(params), str(count)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(*, short: bool) -> Report:
    """The time of a loop of 100,000 reports, less the time of the same loop without them."""
    reports = 10_000 if short else 100_000
    with Stack(JOBSITE_TOOLS="benchmarks.tools") as stack:
        seconds = {
            told: max(run_jobs(stack, "bench.tight", {"reports": reports, "report": told}, 3)["results"])  # type: ignore[call-overload]
            for told in (False, True)
        }
    added = seconds[True] - seconds[False]
    return Report(
        name="progress",
        figures={"reports": reports, "added_s": added, "microseconds_a_report": 1e6 * added / reports},
        goals=[Goal(figure="added_s", at_most=1.0)],
        notes=["added_s is the slowest of three jobs"],
    )
